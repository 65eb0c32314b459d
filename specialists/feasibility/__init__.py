"""Can these settings work, on this machine and with these data? What will they take?

Both are known before any training.
"""

from specialists.feasibility.check import check_settings
from specialists.feasibility.shape import DataShape

__all__ = ["DataShape", "check_settings"]
