"""Is this gap real? Bootstrap intervals over test examples and seeds, and paired tests."""

from specialists.uncertainty.bootstrap import (
    ANY_REAL,
    DIFFERENCE_OF_SHARES,
    SHARE,
    Interval,
    bootstrap_means,
    difference_interval,
    drawn_over_seeds,
    mean_interval,
    means_over_seeds,
    percentile_interval,
    share_kept,
)
from specialists.uncertainty.paired_tests import (
    Alternative,
    holm,
    mcnemar,
    paired_mean_test,
    paired_t,
    sign_flip,
)

__all__ = [
    "ANY_REAL",
    "DIFFERENCE_OF_SHARES",
    "SHARE",
    "Alternative",
    "Interval",
    "bootstrap_means",
    "difference_interval",
    "drawn_over_seeds",
    "holm",
    "mcnemar",
    "mean_interval",
    "means_over_seeds",
    "paired_mean_test",
    "paired_t",
    "percentile_interval",
    "share_kept",
    "sign_flip",
]
