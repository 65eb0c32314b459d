"""Terms of how the rows of a batch lie to one another, METHOD.md (40) to (42).

The layers may have any shapes, since only their rows are compared: each is flattened. The loss of a
row is the mean over its partners. ``layer = "logits"`` needs no network: it looks at the logits of
the student, less their mean, and at the teacher's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.config.fields import Positive
from specialists.distillation.terms.layers import LayerTerm, Path, scaled
from specialists.distillation.terms.term import CLASSES, NETWORK, OUTPUTS, TARGETS, BatchView
from specialists.losses import of_known


class RelationTerm(LayerTerm):
    """A term that compares how rows lie to one another in two layers."""

    layer: Path = OUTPUTS
    """Path of the student's layer. logits: its outputs."""
    teacher_layer: Path | None = None
    """Path of the teacher's layer. logits: its outputs. None: the same."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({NETWORK} if set(self.layers) != {OUTPUTS} else {TARGETS, CLASSES})

    def losses(self, view: BatchView) -> Tensor:
        ours, theirs = self.layers
        student = _centred(view.logits) if ours == OUTPUTS else view.features[ours]
        if theirs == OUTPUTS:
            teacher = _centred(view.finite_classes(self.kind))
        else:
            teacher = view.teacher_features[theirs]
        return self.compare(scaled(student.flatten(1)), scaled(teacher.flatten(1)))


class Similarity(RelationTerm):
    """(1 / n^2) |G(h) - G(u)|^2 of a batch of n rows, METHOD.md (40).

    G(h) is h h', each row of which is divided by its length. A rotation of the features, and their
    scale, change nothing.

    Source: Tung, Mori 2019, "Similarity-Preserving Knowledge Distillation".
    """

    kind: ClassVar[str] = "similarity"

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (_similarities(student) - _similarities(teacher)).square().mean(1)


class Distances(RelationTerm):
    """Mean over pairs of rows of Huber(d(h_i, h_j) - d(u_i, u_j)), METHOD.md (41).

    d is the distance divided by its mean over all pairs. The scale, rotations and translations of
    the features change nothing. The paper sums over pairs.

    Source: Park et al. 2019, "Relational Knowledge Distillation", section 3.2.1.
    """

    kind: ClassVar[str] = "distances"

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        n = len(student)
        gap = _huber(_relative_distances(student) - _relative_distances(teacher))
        first, second = torch.triu_indices(n, n, 1, device=gap.device)
        of_pairs = gap.new_zeros(n, n).index_put((first, second), gap)
        return (of_pairs.sum(0) + of_pairs.sum(1)) / max(1, n - 1)


class Angles(RelationTerm):
    """Mean over triples of rows of Huber(cos of the angle at h_j - that at u_j), METHOD.md (42).

    The scale, rotations and translations of the features change nothing. The paper sums over
    triples. Their number is the cube of the rows', so that only the first ``n_rows`` of a batch,
    whose order is random, count.

    Source: Park et al. 2019, section 3.2.2.
    """

    kind: ClassVar[str] = "angles"

    n_rows: Positive = 64
    """How many rows of a batch form triples, at most."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        m = min(len(student), self.n_rows)
        gap = _cosines(student[:m]) - _cosines(teacher[:m])
        n_triples = max(1, (m - 1) * (m - 2))
        rows = F.pad(_huber(gap).sum((1, 2)) / n_triples, (0, len(student) - m))
        return of_known(rows, torch.arange(len(rows), device=rows.device) < m)


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(1, keepdim=True)


def _huber(gap: Tensor) -> Tensor:
    """Half the square up to 1, the size less a half above."""
    return F.huber_loss(gap, torch.zeros_like(gap), reduction="none")


def _similarities(rows: Tensor) -> Tensor:
    return _of_length_one(rows @ rows.T)


def _relative_distances(rows: Tensor) -> Tensor:
    """Of each pair of rows, as ``torch.triu_indices`` orders them."""
    # By differences: by products of rows near rows would lose their distance. Of these pdist takes
    # a tenth of cdist's time.
    distances = F.pdist(rows)
    mean = distances.sum() / max(1, len(distances))
    return distances / mean.clamp_min(torch.finfo(rows.dtype).tiny)


def _cosines(rows: Tensor) -> Tensor:
    """[j, i, k]: of the angle at row j between rows i and k; 0 where i or k is j."""
    towards = _of_length_one(rows[None] - rows[:, None])
    return towards @ towards.mT


def _of_length_one(vectors: Tensor) -> Tensor:
    """Along the last axis; vectors of zeros stay, and have no gradient (F.normalize's is 1e12)."""
    length = vectors.norm(dim=-1, keepdim=True)
    none = length == 0
    return vectors.masked_fill(none, 0.0) / length.masked_fill(none, 1.0)
