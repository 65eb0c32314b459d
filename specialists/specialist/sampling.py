"""What a specialist sees: half its subset, half the rest, under a prior of its own.

Its soft targets are the generalist's posterior under that prior, and it is judged under it too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.calibration import dustbin_correction
from specialists.config import SpecialistsConfig
from specialists.datasets.base import Inputs
from specialists.errors import DataError
from specialists.predictions import Predictions, as_predictions
from specialists.probability import check_labels, check_log_probs, check_subset
from specialists.training import BalancedExamples, TensorExamples, ValidationLoss
from specialists.training.examples import Augmentation


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
    predictions: Predictions | Tensor, subset: Tensor, training_share: float, natural_share: float
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

    Returns
    -------
    Tensor of shape (n, k + 1)
        Log-probabilities, dustbin last.

    Raises
    ------
    InputError
        If the rows are no log-probabilities (logits, NaN, other axes), or a share is 0 or 1.
    """
    shifted = as_predictions(predictions).of_subset(subset)
    check_log_probs(shifted)
    shifted[:, :-1] += dustbin_correction(training_share, natural_share)
    return F.log_softmax(shifted, dim=-1)


def subset_examples(
    inputs: Inputs,
    labels: Tensor,
    predictions: Predictions,
    subset: Tensor,
    settings: SpecialistsConfig,
    augment: Augmentation | None = None,
) -> tuple[BalancedExamples, float]:
    """Training batches of (inputs, soft target, label), and the subset's natural share f.

    ``labels`` (n,) are of all C classes; ``predictions`` are the generalist's of the n inputs,
    under the natural prior.
    """
    places = subset_labels(labels, subset, predictions.n_classes)
    inside = places < len(subset)
    natural_share = float(inside.double().mean())
    share = settings.subset_share
    index = torch.arange(len(places))
    target = torch.zeros(len(places), 0)
    if settings.soft_targets > 0:
        blocks = [
            soft_targets(predictions[rows], subset, share, natural_share)
            for rows in index.split(8192)
        ]
        target = F.softmax(torch.cat(blocks) / settings.temperature, dim=-1)
    tensors = TensorExamples(inputs, (target, places), augment)
    return BalancedExamples(tensors, index[inside], index[~inside], share), natural_share


def subset_validation(
    inputs: Inputs, labels: Tensor, n_classes: int, subset: Tensor, share: float
) -> ValidationLoss:
    """How a specialist is judged: on places in its subset, under the prior that it trains with."""
    places = subset_labels(labels, subset, n_classes)
    return ValidationLoss(inputs, places, _prior_weights(places == len(subset), share))


def check_share(
    labels: Tensor, subset: Tensor, names: Sequence[str] | None = None, where: str | None = None
) -> None:
    """Check that a specialist has training examples inside and outside of its subset.

    Raises
    ------
    DataError
        If it has not; it lists the classes of the subset by their ``names``, if given.
    """
    n_inside = int(torch.isin(labels, subset).sum())
    if n_inside == 0 or n_inside == len(labels):
        classes = [names[int(c)] if names else str(int(c)) for c in subset[:10]]
        raise DataError(
            "a specialist needs training examples inside and outside of its subset",
            where=where,
            got=f"{n_inside} of {len(labels)} inside: {', '.join(classes)}",
            fix="set clusters.n_clusters or coverage, or give these classes examples",
        )


def _prior_weights(dustbin: Tensor, share: float) -> Tensor:
    """Weights that give validation examples of the subset the share that training gives them."""
    n_dustbin = int(dustbin.sum())
    n_inside = len(dustbin) - n_dustbin
    if n_inside == 0 or n_dustbin == 0:
        return torch.ones(len(dustbin))
    scale = len(dustbin)
    return torch.where(dustbin, (1 - share) * scale / n_dustbin, share * scale / n_inside)
