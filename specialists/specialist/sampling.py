"""What a specialist sees: half its subset, half the rest, under a prior of its own.

Its soft targets are the generalist's posterior under that prior, and it is judged under it too.
What is read and computed is in proportion to the rows that it trains on: soft targets are made of
rows that are drawn, and it is judged by its subset's rows and a sample of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.calibration import dustbin_correction
from specialists.config import SpecialistsConfig
from specialists.datasets.base import Inputs
from specialists.datasets.fetched_rows import only_rows
from specialists.errors import DataError
from specialists.predictions import ALL_ROWS, Predictions, RowIndex, as_predictions
from specialists.probability import check_labels, check_log_probs, check_subset
from specialists.runtime import derive_seed
from specialists.training import BalancedExamples, TensorExamples, ValidationLoss
from specialists.training.examples import Augmentation, drawn, drawn_rows

JUDGING, CALIBRATING = 2048, 8192  # rows of other classes: after each epoch, and at the end
ROWS_AT_A_TIME = 8192


def subset_labels(labels: Tensor, subset: Tensor, n_classes: int) -> Tensor:
    """Place of each label in ``subset``, or ``len(subset)``, the dustbin; int64 of shape (n,).

    Raises
    ------
    InputError
        If a label is none of the ``n_classes``, or the subset no list of distinct classes.
    """
    check_subset(subset, n_classes)
    labels = check_labels(labels, labels.numel(), n_classes)
    place = torch.full((n_classes,), len(subset), dtype=torch.int64)
    place[subset.long()] = torch.arange(len(subset))
    return place[labels]


def soft_targets(
    predictions: Predictions | Tensor,
    subset: Tensor,
    training_share: float,
    natural_share: float,
    rows: RowIndex = ALL_ROWS,
) -> Tensor:
    """The generalist's posterior over a subset and the dustbin, under a specialist's prior.

    Aggregated to the dustbin first, then shifted: the subset part gains
    log(((1 - f) / f) (s / (1 - s))). Temper it afterwards.

    Parameters
    ----------
    predictions : Predictions, or Tensor of log-probabilities of shape (n, C)
        Under the natural prior.
    subset : int64 Tensor of shape (k,)
    training_share, natural_share : float
        s and f, in (0, 1).
    rows : indices, mask or slice
        Of the predictions.

    Returns
    -------
    Tensor of shape (n, k + 1)
        Log-probabilities, dustbin last.

    Raises
    ------
    InputError
        If the rows are no log-probabilities (logits, NaN, other axes), or a share is 0 or 1.
    """
    shifted = as_predictions(predictions).of_subset(subset, rows)
    check_log_probs(shifted)
    shifted[:, :-1] += dustbin_correction(training_share, natural_share)
    return F.log_softmax(shifted, dim=-1)


@dataclass(frozen=True)
class DrawnTargets:
    """Soft targets of the rows that are asked for; those of the subset's rows are made once.

    Parameters
    ----------
    make : callable
        Maps indices (n,) to the targets of these rows, (n, k + 1).
    inside : int64 Tensor
        Indices of the subset's rows, in increasing order.
    """

    make: Callable[[Tensor], Tensor]
    inside: Tensor

    @cached_property
    def _of_inside(self) -> Tensor:
        return torch.cat([self.make(rows) for rows in self.inside.split(ROWS_AT_A_TIME)])

    def __getitem__(self, index: Tensor, /) -> Tensor:
        place = torch.searchsorted(self.inside, index).clamp_max(len(self.inside) - 1)
        is_inside = self.inside[place] == index
        targets = self._of_inside[place]
        targets[~is_inside] = self.make(index[~is_inside])
        return targets


def training_rows(labels: Tensor, subset: Tensor, settings: SpecialistsConfig, seed: int) -> Tensor:
    """Rows that a specialist's training reads; ``labels`` (n,) are of all C classes."""
    is_inside = torch.isin(labels, subset)
    inside, outside = (rows.nonzero().squeeze(1) for rows in (is_inside, ~is_inside))
    examples = BalancedExamples(TensorExamples(labels, ()), inside, outside, settings.subset_share)
    return drawn_rows(examples, seed, settings.epochs or 1)


def subset_examples(
    inputs: Inputs,
    labels: Tensor,
    predictions: Predictions,
    subset: Tensor,
    settings: SpecialistsConfig,
    augment: Augmentation | None = None,
    weights: Tensor | None = None,
) -> tuple[BalancedExamples, float]:
    """Training batches of (inputs, soft target, label), and the subset's natural share f.

    ``labels`` (n,) are of all C classes; ``predictions`` are the generalist's of the n inputs,
    under the natural prior. ``weights`` (n,) say how many rows each one counts as. Raises a
    DataError if no label is of the subset, or all are.
    """
    places = subset_labels(labels, subset, predictions.n_classes)
    is_inside = places < len(subset)
    inside, outside = (rows.nonzero().squeeze(1) for rows in (is_inside, ~is_inside))
    _refuse_one_side(len(inside), len(places), subset)
    natural_share, share = len(inside) / len(places), settings.subset_share
    more: tuple[Tensor, ...] = ()
    if weights is not None:
        natural_share = float(weights[inside].double().sum() / weights.double().sum())
        more = (_weights_on_either_side(weights, is_inside),)

    def make(rows: Tensor) -> Tensor:
        targets = soft_targets(predictions, subset, share, natural_share, rows)
        return F.softmax(targets / settings.temperature, dim=-1)

    wanted = settings.soft_targets > 0
    target = DrawnTargets(make, inside) if wanted else torch.zeros(len(places), 0)
    tensors = TensorExamples(inputs, (target, places, *more), augment)
    return BalancedExamples(tensors, inside, outside, share), natural_share


def subset_validation(
    inputs: Inputs,
    labels: Tensor,
    n_classes: int,
    subset: Tensor,
    share: float,
    seed: int = 0,
    least: int = JUDGING,
    counts: Tensor | None = None,
) -> ValidationLoss:
    """How a specialist is judged: on places in its subset, under the prior that it trains with.

    All rows of the subset judge it, and of the others as many, drawn by the seed, but at least
    ``least``. Each counts as so many as ``counts`` (n,) say.
    """
    places = subset_labels(labels, subset, n_classes)
    outside = (places == len(subset)).nonzero().squeeze(1)
    n_outside = max(least, len(places) - len(outside))
    if len(outside) > n_outside:
        generator = torch.Generator().manual_seed(derive_seed(seed, "validation"))
        is_chosen = places < len(subset)
        is_chosen[outside[drawn(len(outside), n_outside, generator)]] = True
        rows = is_chosen.nonzero().squeeze(1)
        inputs, places = only_rows(inputs, rows), places[rows]
        counts = None if counts is None else counts[rows]
    weights = _prior_weights(places == len(subset), share, counts)
    return ValidationLoss(inputs, places, weights, counts)


def natural_weights(
    judges: ValidationLoss, subset: Tensor, n_rows: int, counts: Tensor | None = None
) -> Tensor | None:
    """Weights with which the rows that judge stand for all ``n_rows``; None: they are all.

    ``counts`` (n_rows,) say how many rows each of all counts as.
    """
    places = judges.labels
    if len(places) == n_rows:
        return judges.counts
    is_outside = places == len(subset)
    if counts is None or judges.counts is None:
        n_inside = int((~is_outside).sum())
        return torch.where(is_outside, (n_rows - n_inside) / (len(places) - n_inside), 1.0)
    inside = judges.counts[~is_outside].sum()
    factor = (counts.sum() - inside) / judges.counts[is_outside].sum()
    return torch.where(is_outside, factor, 1.0) * judges.counts


def check_share(
    labels: Tensor, subset: Tensor, names: Sequence[str] | None = None, where: str | None = None
) -> None:
    """Check that a specialist has training examples inside and outside of its subset.

    ``labels`` (n,) are int64 and not negative.

    Raises
    ------
    DataError
        If it has not; it lists the classes of the subset by their ``names``, if given.
    """
    counts = torch.bincount(labels, minlength=int(subset.max()) + 1)
    _refuse_one_side(int(counts[subset].sum()), len(labels), subset, names, where)


def _refuse_one_side(
    n_inside: int,
    n_rows: int,
    subset: Tensor,
    names: Sequence[str] | None = None,
    where: str | None = None,
) -> None:
    if n_inside == 0 or n_inside == n_rows:
        classes = [names[int(c)] if names else str(int(c)) for c in subset[:10]]
        raise DataError(
            "a specialist needs training examples inside and outside of its subset",
            where=where,
            got=f"{n_inside} of {n_rows} inside: {', '.join(classes)}",
            fix="set clusters.n_clusters or coverage, or give these classes examples",
        )


def _weights_on_either_side(weights: Tensor, is_inside: Tensor) -> Tensor:
    """Weights whose mean is 1 inside of the subset and outside: sampling alone sets the shares."""
    means = [weights[side].mean() for side in (is_inside, ~is_inside)]
    return weights / torch.where(is_inside, *means)


def _prior_weights(dustbin: Tensor, share: float, counts: Tensor | None = None) -> Tensor:
    """Weights that give validation examples of the subset the share that training gives them."""
    n_dustbin = int(dustbin.sum())
    n_inside = len(dustbin) - n_dustbin
    if n_inside == 0 or n_dustbin == 0:
        return torch.ones(len(dustbin))
    scale = float(len(dustbin))
    if counts is not None:
        scale, n_dustbin = float(counts.sum()), float(counts[dustbin].sum())
        n_inside = scale - n_dustbin
    return torch.where(dustbin, (1 - share) * scale / n_dustbin, share * scale / n_inside)
