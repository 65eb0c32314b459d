"""How is one specialist trained for all classes, each row against those it may be confused with?

A row's loss is the cross-entropy over its shortlist, which holds its label, and over the classes of
its batch as further negatives (METHOD.md (28)). Confusable classes alone teach nothing about all
others; random ones alone are told apart too easily. What is computed is the trunk and some hundred
rows of the head instead of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from specialists.calibration import LEAST_LOGIT, fit_temperature
from specialists.config import Recipe
from specialists.datasets.base import Split
from specialists.datasets.fetched_rows import only_rows
from specialists.errors import DataError, InputError
from specialists.losses import CrossEntropy, relative_weights
from specialists.networks import check_head_is_last
from specialists.predictions import predict_outputs
from specialists.probability import check_labels, check_shortlists
from specialists.runtime import Hardware
from specialists.shared.shared_model import TrainedShared
from specialists.shared.shortlist_network import (
    ShortlistedInputs,
    ShortlistNetwork,
    shortlist_logits,
)
from specialists.shared.shortlists import places_of_labels
from specialists.training import Trainer, ValidationLoss
from specialists.training.examples import Augmentation, Batch


def train_shared(
    network: nn.Module,
    train: Split,
    validation: Split,
    shortlists: Tensor,
    validation_shortlists: Tensor,
    recipe: Recipe,
    *,
    seed: int,
    hardware: Hardware | None = None,
    folder: Path | None = None,
    augment: Augmentation | None = None,
    description: str = "shared specialist",
) -> TrainedShared:
    """Train a network over all classes on shortlists and batch negatives, and calibrate it.

    Parameters
    ----------
    network : nn.Module
        Maps n inputs to logits of shape (n, C) and ends in its ``nn.Linear`` over the classes. It
        is trained in place.
    train, validation : Split
        Validation rows whose label is on their shortlist choose the epoch and the shortlist's
        temperature, all of them that of the whole head.
    shortlists : int64 Tensor of shape (n_train, K)
        With the labels: ``most_probable_classes(predictions, k, labels)``.
    validation_shortlists : int64 Tensor of shape (n_validation, K)
        As they are asked about later, without looking at the labels.
    recipe : Recipe
        Its epochs, batch size and learning rate are set.
    seed : int
        Of the order of examples, augmentation and dropout.
    hardware : Hardware, optional
        None: a GPU if there is one, and bfloat16 where the machine is fast at it.
    folder : Path, optional
        Where checkpoints and ``metrics.jsonl`` are written; None: nowhere.
    augment : callable, optional
        Maps a batch of inputs and a generator to changed inputs.
    description : str
        Of the progress bar and of errors.

    Raises
    ------
    InputError
        If the head of the network is not its end, shortlists do not fit the rows, or a training
        row's lacks its label.
    DataError
        If no validation row has its label on its shortlist.
    TrainingError
        If the loss is no longer finite.
    """
    sample = validation.inputs[torch.arange(min(2, len(validation)))]
    n_classes = predict_outputs(network, sample).shape[-1]
    check_head_is_last(network, n_classes, sample)
    examples = _examples(train, shortlists, n_classes, augment)
    asked, places, rows = _judged(validation, validation_shortlists, n_classes, description)
    counts = None if validation.weights is None else validation.weights[rows]
    scorer = ShortlistNetwork(network, n_classes)
    trainer = Trainer(
        scorer,
        examples,  # pyright: ignore[reportArgumentType]
        ShortlistLoss(recipe.label_smoothing or 0.0),
        ValidationLoss(asked, places, counts=counts),  # pyright: ignore[reportArgumentType]
        recipe,
        seed=seed,
        hardware=hardware or Hardware(),
        folder=folder,
        description=description,
    )
    result = trainer.fit()
    _keep_buffers(network, scorer.trunk)
    logits = shortlist_logits(scorer, asked.inputs, asked.classes)
    outputs = predict_outputs(network, validation.inputs)
    return TrainedShared(
        network=network.eval(),
        n_classes=n_classes,
        shortlist_temperature=fit_temperature(logits, places, counts=counts),
        head_temperature=fit_temperature(outputs, validation.labels, counts=validation.weights),
        cost=result.cost,
        result=result,
    )


class ShortlistLoss(nn.Module):
    """Mean cross-entropy over the classes that each row is asked about, in nats.

    ``label_smoothing`` is spread over these classes alone.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, places: Tensor, weights: Tensor | None = None) -> Tensor:
        """``places``, int64 of shape (n,), are the labels' in the rows of ``logits``.

        ``weights`` (n,) multiply the rows' losses.
        """
        hard = CrossEntropy()(logits, places, weights)
        if self.label_smoothing == 0:
            return hard
        asked = logits > LEAST_LOGIT / 2
        log_probs = F.log_softmax(logits, dim=1).masked_fill(~asked, 0.0)
        each = log_probs.sum(1) / asked.sum(1)
        spread = -(each if weights is None else each * weights).mean()
        return (1 - self.label_smoothing) * hard + self.label_smoothing * spread


@dataclass(frozen=True)
class ShortlistExamples:
    """Every row once an epoch, in random order; the classes of a batch are its negatives.

    Parameters
    ----------
    train : Split
    shortlists : int64 Tensor of shape (n, K)
    places : int64 Tensor of shape (n,)
        Of the labels in the shortlists.
    n_classes : int
    augment : callable, optional
    """

    train: Split
    shortlists: Tensor
    places: Tensor
    n_classes: int
    augment: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def shares(self) -> Tensor:
        """Of each class among the rows that are drawn, float64 of shape (C,)."""
        return torch.bincount(self.train.labels, minlength=self.n_classes).double() / len(self)

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """Of the rows, as the last of a batch's targets; none where each counts as one."""
        return relative_weights(self.train.weights)

    def order(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        inputs = self.train.inputs[index]
        if self.augment is not None:
            inputs = self.augment(inputs, generator)
        negatives = self.train.labels[index].unique()
        asked = ShortlistedInputs(
            inputs,
            self.shortlists[index],
            negatives,
            log_inclusion(self.shares[negatives], len(index)).float(),
        )
        targets = (self.places[index], *(weights[index] for weights in self.weights))
        return Batch(asked, targets)  # pyright: ignore[reportArgumentType]


def log_inclusion(shares: Tensor, n_rows: int) -> Tensor:
    """Log of the probability ``1 - (1 - share)^n`` that a class is among n rows drawn at random."""
    return torch.log(-torch.expm1(n_rows * torch.log1p(-shares)))


def _examples(
    train: Split, shortlists: Tensor, n_classes: int, augment: Augmentation | None
) -> ShortlistExamples:
    check_shortlists(shortlists, len(train), n_classes, "the shortlists of training rows")
    labels = check_labels(train.labels, len(train), n_classes)
    places = places_of_labels(shortlists, labels)
    lacking = (places < 0).nonzero().flatten()
    if len(lacking):
        raise InputError(
            "the shortlist of a training row lacks its label",
            where=f"row {int(lacking[0])}, and {len(lacking) - 1} others",
            got=int(labels[lacking[0]]),
            fix="most_probable_classes(predictions, k, labels) puts labels in",
        )
    return ShortlistExamples(train, shortlists, places, n_classes, augment)


def _judged(
    validation: Split, shortlists: Tensor, n_classes: int, where: str
) -> tuple[ShortlistedInputs, Tensor, Tensor]:
    """The validation rows whose label is on their shortlist, its place there, and their indices."""
    check_shortlists(shortlists, len(validation), n_classes, "the shortlists of validation rows")
    places = places_of_labels(
        shortlists, check_labels(validation.labels, len(validation), n_classes)
    )
    rows = (places >= 0).nonzero().squeeze(1)
    if not len(rows):
        raise DataError(
            "no validation row has its label on its shortlist: nothing can choose an epoch",
            where=where,
            got=f"0 of {len(validation)} rows",
            fix="set specialists.shortlist to more classes",
        )
    asked = ShortlistedInputs(only_rows(validation.inputs, rows), shortlists[rows])
    return asked, places[rows], rows


def _keep_buffers(network: nn.Module, trunk: nn.Module) -> None:
    """Give a network the statistics that a trunk of the same weights has gathered in training."""
    state, gathered = network.state_dict(), dict(trunk.named_buffers())
    network.load_state_dict({**state, **{k: v for k, v in gathered.items() if k in state}})
