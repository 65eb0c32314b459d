"""Are these clusters good? Shares, silhouette, stability, sizes and coverage, in one place.

* share of confusions inside, beside what random clusters of the same sizes would hold, and how much
  of what those miss;
* silhouette of classes, by the cosine of their correlation columns;
* stability: adjusted Rand index between these clusters and those of bootstrapped predictions;
* sizes, and how many clusters hold each class.

Silhouette and stability are of the first partition, in which no two clusters share a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from specialists.clustering.checks import whole_number
from specialists.clustering.classes import ClassClusters
from specialists.clustering.co_predictions import CoPredictions, streamed
from specialists.clustering.shares import shares_inside
from specialists.clustering.silhouette import silhouettes
from specialists.covariance.sketched import PredictionSketch
from specialists.errors import InputError
from specialists.escaping import one_line

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClusterDiagnostics:
    """What there is to know of clusters before a specialist is trained.

    Parameters
    ----------
    share_of_confusions, random_share : float
        Fraction of confusion mass inside any cluster; and expected of random clusters.
    silhouettes : tuple of float
        Of each class, in [-1, 1]; NaN for a class in no cluster.
    stability : tuple of float
        Adjusted Rand index with the clusters of each bootstrap; empty if none was asked for.
    sizes : tuple of int
        Of the clusters, overlap included.
    coverage : tuple of int
        Number of clusters that hold each class.
    """

    share_of_confusions: float
    random_share: float
    silhouettes: tuple[float, ...]
    stability: tuple[float, ...]
    sizes: tuple[int, ...]
    coverage: tuple[int, ...]

    @property
    def share_beyond_chance(self) -> float:
        """Share held of the confusions that random clusters miss; NaN where they miss none.

        0 for clusters no better than random ones, less for worse ones, at most 1.
        """
        missed = 1 - self.random_share
        return (self.share_of_confusions - self.random_share) / missed if missed else float("nan")

    @property
    def silhouette(self) -> float:
        """Mean over classes that have one; NaN if none has."""
        known = [value for value in self.silhouettes if value == value]
        return float(np.mean(known)) if known else float("nan")

    @property
    def size_ratio(self) -> float:
        """Largest size over mean size."""
        return max(self.sizes) / float(np.mean(self.sizes))

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each diagnostic, for a table."""
        rows = [
            ("confusions inside", f"{self.share_of_confusions:.1%}"),
            ("  random clusters of these sizes", f"{self.random_share:.1%}"),
            ("  of what those miss", f"{self.share_beyond_chance:.1%}"),
            ("silhouette, mean of classes", f"{self.silhouette:.3f}"),
            ("sizes", f"{min(self.sizes)} to {max(self.sizes)}, mean {np.mean(self.sizes):.1f}"),
            ("largest over mean size", f"{self.size_ratio:.2f}"),
            ("classes in no cluster", str(sum(times == 0 for times in self.coverage))),
            ("clusters that hold a class", f"{np.mean(self.coverage):.2f} on average"),
        ]
        if self.stability:
            low, high = min(self.stability), max(self.stability)
            text = f"{np.mean(self.stability):.3f} ({low:.3f} to {high:.3f})"
            rows.insert(4, (f"stability, {len(self.stability)} bootstraps", text))
        return rows

    def to_text(self) -> str:
        """The table for people."""
        return "\n".join(f"{name:<34}{value}" for name, value in self.rows()) + "\n"


def diagnostics_text(diagnostics: Mapping[str, ClusterDiagnostics]) -> str:
    """A table for people, one clustering a line, of diagnostics by name."""
    shares = ("inside", "random", "of the rest")
    header = ("", *shares, "silhouette", "stability", "sizes", "largest/mean", "covered")
    lines: list[tuple[str, ...]] = [header]
    for name, each in diagnostics.items():
        line = (
            one_line(name),
            f"{each.share_of_confusions:.1%}",
            f"{each.random_share:.1%}",
            f"{each.share_beyond_chance:.1%}",
            f"{each.silhouette:.3f}",
            f"{np.mean(each.stability):.2f}" if each.stability else "-",
            f"{min(each.sizes)} to {max(each.sizes)}",
            f"{each.size_ratio:.2f}",
            f"{np.mean(each.coverage):.2f} times",
        )
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )
    return "\n".join(rows) + "\n"


def diagnose(
    clusters: ClassClusters,
    probs: np.ndarray | Tensor | PredictionSketch | CoPredictions,
    n_bootstraps: int = 0,
    max_ratio: float = 2.0,
    seed: int = 0,
) -> ClusterDiagnostics:
    """Diagnostics of clusters on predictions, best others than the clusters were found on.

    Parameters
    ----------
    clusters : ClassClusters
        From any method.
    probs : array or tensor of shape (n, C), PredictionSketch or CoPredictions
        Probabilities, never of the test set. Above 8,192 classes they are sketched.
    n_bootstraps : int
        Times that rows are drawn again and clustered by the same method; 0 for no stability.
    max_ratio : float
        What the clusters were found with.
    seed : int

    Raises
    ------
    InputError
        ``probs`` are not probabilities of the clusters' classes, or what keeps no rows is to be
        bootstrapped.
    """
    n_bootstraps = whole_number(n_bootstraps, "n_bootstraps", 0, 1000)
    if isinstance(probs, CoPredictions):
        pairs = probs
    elif isinstance(probs, PredictionSketch):
        pairs = CoPredictions.from_source(probs)
    else:
        pairs = CoPredictions.from_source(streamed(probs, clusters.n_classes))
    subsets = [np.array(members, dtype=int) for members in clusters.classes]
    columns = pairs.columns(pairs.matrix_name(None, "correlation", "spherical"), "spherical")
    return ClusterDiagnostics(
        share_of_confusions=shares_inside(subsets, pairs.confusion, pairs.confusion_mass)[1],
        random_share=clusters.random_share,
        silhouettes=tuple(silhouettes(columns, clusters.labels).tolist()),
        stability=tuple(
            _bootstrapped(clusters, probs, max_ratio, seed + draw) for draw in range(n_bootstraps)
        ),
        sizes=clusters.sizes,
        coverage=tuple(np.bincount(np.concatenate(subsets), minlength=clusters.n_classes).tolist()),
    )


def _bootstrapped(
    clusters: ClassClusters,
    probs: np.ndarray | Tensor | PredictionSketch | CoPredictions,
    max_ratio: float,
    seed: int,
) -> float:
    from sklearn.metrics import adjusted_rand_score

    if isinstance(probs, PredictionSketch | CoPredictions):
        what = "co-predictions keep no rows to draw again"
        fix = "give the rows of predictions themselves"
        raise InputError(what, where="n_bootstraps", expected=0, fix=fix)
    if clusters.method == "online":
        what = "online clusters depend on the order of predictions and are not bootstrapped"
        raise InputError(what, where="n_bootstraps", expected=0)
    rows = np.random.default_rng(seed).integers(0, len(probs), len(probs))
    again = ClassClusters.from_predictions(
        probs[rows],
        n_clusters=None if clusters.method == "correlation" else len(clusters.first_partition),
        method=clusters.method,
        matrix=clusters.matrix,
        max_ratio=max_ratio,
        seed=seed,
    )
    return float(adjusted_rand_score(clusters.labels, again.labels))
