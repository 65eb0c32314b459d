"""How do a generalist and its specialists become one distribution?

:func:`combine` is the exact minimiser of the paper's objective; :func:`side_by_side` a rule without
an objective that the pipeline tries beside it.
"""

from specialists.combination.minimiser import combine
from specialists.combination.pooling import side_by_side
from specialists.combination.solution import Combination

__all__ = ["Combination", "combine", "side_by_side"]
