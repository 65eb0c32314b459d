"""Do the clusters agree with groups that people know? Against a hierarchy, or other clusters.

The groups may be alphabets, domains, occupation families or the clusters of another method.
Adjusted Rand index (Hubert and Arabie, 1985) and adjusted mutual information (Vinh, Epps and
Bailey, 2010) are 0 on average for unrelated groups and 1 for equal ones; homogeneity is 1 where
each cluster holds one group alone, completeness where each group lies in one cluster.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from specialists.clustering.classes import ClassClusters
from specialists.errors import InputError
from specialists.escaping import one_line

N_GROUPS_SHOWN = 4


@dataclass(frozen=True)
class GroupComparison:
    """Agreement of clusters with groups.

    Parameters
    ----------
    groups : tuple of str
        Names of the G groups.
    table : tuple of tuples of int
        Number of classes in each cluster (M rows) of each group (G columns).
    adjusted_rand, adjusted_mutual_information : float
        At most 1; about 0 for unrelated groups.
    mutual_information : float
        Normalised by the mean entropy, in [0, 1]; not corrected for chance.
    homogeneity, completeness : float
        In [0, 1].
    """

    groups: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    adjusted_rand: float
    adjusted_mutual_information: float
    mutual_information: float
    homogeneity: float
    completeness: float

    def to_text(self) -> str:
        """The scores, then the largest groups of each cluster."""
        lines = [
            f"adjusted Rand index {self.adjusted_rand:.3f}, adjusted mutual information "
            f"{self.adjusted_mutual_information:.3f}",
            f"homogeneity {self.homogeneity:.3f}, completeness {self.completeness:.3f}",
        ]
        for index, row in enumerate(self.table):
            order = sorted(range(len(row)), key=lambda group: -row[group])
            shown = [g for g in order[:N_GROUPS_SHOWN] if row[g]]
            parts = ", ".join(f"{one_line(self.groups[g])} {row[g]}" for g in shown)
            rest = sum(row) - sum(row[g] for g in shown)
            lines.append(f"cluster {index}: {parts}" + (f", others {rest}" if rest else ""))
        return "\n".join(lines) + "\n"


def compare(
    clusters: ClassClusters, other: ClassClusters | Mapping[str, Hashable] | Sequence[Hashable]
) -> GroupComparison:
    """Clusters of the first partition, before overlap, against groups of the same classes.

    Parameters
    ----------
    clusters : ClassClusters
    other : ClassClusters, mapping of class name to group, or sequence of C groups
        Classes in no cluster of either, or whose group is None, are left out.

    Raises
    ------
    InputError
        A class has no group, or there are not as many groups as classes.
    """
    from sklearn import metrics

    groups = _groups(clusters, other)
    known = np.flatnonzero([g is not None for g in groups] & (clusters.labels >= 0))
    labels = clusters.labels[known]
    names, codes = np.unique(np.array([str(groups[i]) for i in known]), return_inverse=True)
    table = np.zeros((len(clusters.first_partition), len(names)), dtype=int)
    np.add.at(table, (labels, codes), 1)
    return GroupComparison(
        groups=tuple(names.tolist()),
        table=tuple(tuple(row) for row in table.tolist()),
        adjusted_rand=float(metrics.adjusted_rand_score(codes, labels)),
        adjusted_mutual_information=float(metrics.adjusted_mutual_info_score(codes, labels)),
        mutual_information=float(metrics.normalized_mutual_info_score(codes, labels)),
        homogeneity=float(metrics.homogeneity_score(codes, labels)),
        completeness=float(metrics.completeness_score(codes, labels)),
    )


def _groups(
    clusters: ClassClusters, other: ClassClusters | Mapping[str, Hashable] | Sequence[Hashable]
) -> list[Hashable]:
    if isinstance(other, Mapping):
        missing = [name for name in clusters.class_names if name not in other]
        if missing:
            raise InputError(
                "classes have no group",
                where="other",
                got=f"{len(missing)} without one, for instance {missing[0]!r}",
                expected="a group for each class name",
            )
        return [other[name] for name in clusters.class_names]
    if isinstance(other, ClassClusters):
        labels = other.labels.tolist()
        groups: list[Hashable] = [f"cluster {k}" if k >= 0 else None for k in labels]
    else:
        groups = list(other)
    if len(groups) != clusters.n_classes:
        raise InputError(
            "there are not as many groups as classes",
            where="other",
            got=len(groups),
            expected=clusters.n_classes,
        )
    return groups
