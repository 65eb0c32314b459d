"""The tables of Hinton, Vinyals and Dean (2015) beside ours: `specialists reproduce`.

An experiment is a file, see ``experiments``. Networks, training, losses and fits are the library's.
These files say which networks are trained on which rows, and what the paper reports.
"""

from .reproduce_command import reproducing

__all__ = ["reproducing"]
