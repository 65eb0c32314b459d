"""Is this gap real? Bootstrap intervals over test examples and seeds, and paired tests.

Both draw units of chance: single examples, or groups of those that are one observation.
"""

from specialists.uncertainty.bootstrap import (
    ANY_REAL,
    DIFFERENCE_OF_SHARES,
    SHARE,
    Interval,
    bootstrap_means,
    difference_interval,
    interval_of_mean,
    percentile_interval,
    t_interval,
)
from specialists.uncertainty.paired_tests import holm, mcnemar, paired_mean_test
from specialists.uncertainty.row_groups import (
    MIN_GROUPS,
    count_groups,
    groups_in_words,
    no_test,
    rows_in_groups,
)
from specialists.uncertainty.seed_bootstrap import drawn_over_seeds, means_over_seeds, share_kept
from specialists.uncertainty.seed_tests import rank_ranges, seed_and_group_test

__all__ = [
    "ANY_REAL",
    "DIFFERENCE_OF_SHARES",
    "MIN_GROUPS",
    "SHARE",
    "Interval",
    "bootstrap_means",
    "count_groups",
    "difference_interval",
    "drawn_over_seeds",
    "groups_in_words",
    "holm",
    "interval_of_mean",
    "mcnemar",
    "means_over_seeds",
    "no_test",
    "paired_mean_test",
    "percentile_interval",
    "rank_ranges",
    "rows_in_groups",
    "seed_and_group_test",
    "share_kept",
    "t_interval",
]
