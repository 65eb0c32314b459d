"""One thread a process, no window and no progress bars, before anything heavy is imported."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["SPECIALISTS_QUIET"] = "1"
