"""What a specialist sees: half its subset, half the rest, under a prior of its own.

Its soft targets are the generalist's posterior under that prior, and it is judged under it too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.calibration import dustbin_correction
from specialists.errors import InputError
from specialists.probability import aggregate, check_labels, check_rows, check_subset
from specialists.training import BalancedExamples, TensorExamples, ValidationLoss
from specialists.trunk import Trunk
from specialists.workspace import Workspace

LOG_SUM_TOLERANCE = 0.05


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
    log_probs: Tensor, subset: Tensor, training_share: float, natural_share: float
) -> Tensor:
    """The generalist's posterior over a subset and the dustbin, under a specialist's prior.

    Aggregated to the dustbin first, then shifted: the subset part gains
    log(((1 - f) / f) (s / (1 - s))). Temper it afterwards.

    Parameters
    ----------
    log_probs : Tensor of shape (n, C)
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
    check_rows(log_probs, "log-probabilities")
    shifted = aggregate(log_probs.to(torch.promote_types(log_probs.dtype, torch.float32)), subset)
    _check_sums(shifted.logsumexp(-1))
    shifted[:, :-1] += dustbin_correction(training_share, natural_share)
    return F.log_softmax(shifted, dim=-1)


def _check_sums(log_sums: Tensor) -> None:
    """Half-precision log-probabilities sum to one within a hundredth."""
    wrong = (~(log_sums.abs() < LOG_SUM_TOLERANCE)).nonzero().flatten()
    if len(wrong):
        raise InputError(
            "a row holds no log-probabilities",
            where=f"row {int(wrong[0])}, and {len(wrong) - 1} more",
            got=f"probabilities that sum to {float(log_sums[wrong[0]].exp()):.3g}",
            expected="1, over the classes, which are the last axis",
            fix="for logits: torch.log_softmax(logits, -1)",
        )


def subset_examples(
    workspace: Workspace, trunk: Trunk, subset: Tensor
) -> tuple[BalancedExamples, float]:
    """Training batches of (inputs, soft target, label), and the subset's natural share f."""
    settings = workspace.config.specialists
    train = workspace.dataset.train
    labels = subset_labels(train.labels, subset, workspace.dataset.n_classes)
    inside = labels < len(subset)
    natural_share = float(inside.double().mean())
    share = settings.subset_share
    index = torch.arange(len(labels))
    target = torch.zeros(len(labels), 0)
    if settings.soft_targets > 0:
        blocks = [
            soft_targets(trunk.log_probs[rows].float(), subset, share, natural_share)
            for rows in index.split(8192)
        ]
        target = F.softmax(torch.cat(blocks) / settings.temperature, dim=-1)
    tensors = TensorExamples(trunk.train, (target, labels), workspace.augment)
    return BalancedExamples(tensors, index[inside], index[~inside], share), natural_share


def subset_validation(workspace: Workspace, trunk: Trunk, subset: Tensor) -> ValidationLoss:
    """How a specialist is judged: on its own labels, under the prior that it trains with."""
    labels = subset_labels(workspace.dataset.validation.labels, subset, workspace.dataset.n_classes)
    weights = _prior_weights(labels == len(subset), workspace.config.specialists.subset_share)
    return ValidationLoss(trunk.validation, labels, weights)


def _prior_weights(dustbin: Tensor, share: float) -> Tensor:
    """Weights that give validation examples of the subset the share that training gives them."""
    n_dustbin = int(dustbin.sum())
    n_inside = len(dustbin) - n_dustbin
    if n_inside == 0 or n_dustbin == 0:
        return torch.ones(len(dustbin))
    scale = len(dustbin)
    return torch.where(dustbin, (1 - share) * scale / n_dustbin, share * scale / n_inside)
