"""Who teaches a student: stored targets, or a teacher that is asked about every batch.

Stored (offline) targets are what the teacher predicts for the training inputs as they are, most of
which its parts know by heart. Asked about augmented inputs (online), it says more of what it would
predict elsewhere; the student learns to be the same function (Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent", section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from specialists.datasets.base import Inputs
from specialists.datasets.fetched_rows import only_rows
from specialists.errors import InputError
from specialists.predictions import (
    ROWS_AT_A_TIME,
    Predictions,
    as_predictions,
    concatenated,
    network_predictions,
)
from specialists.runtime import progress
from specialists.training import Batch, TensorExamples

OnlineTeacher = nn.Module | Callable[[Inputs], Predictions | Tensor]
Teacher = Predictions | Tensor | OnlineTeacher


def online(teacher: OnlineTeacher) -> Callable[[Inputs], Predictions]:
    """The teacher as a function from inputs to predictions on the CPU.

    A network, which gives logits, is asked in evaluation mode and without gradients.
    """
    if isinstance(teacher, nn.Module):
        return lambda inputs: network_predictions(teacher, inputs)
    if not callable(teacher):
        raise InputError(
            "this is no teacher",
            got=type(teacher).__name__,
            expected="predictions or log-probabilities [n, C] of the training inputs, a network, "
            "or a function from inputs to predictions",
            fix="of a trained classifier: classifier.predictions(train.inputs)",
        )
    return lambda inputs: as_predictions(teacher(inputs))


def teacher_blocks(
    teacher: OnlineTeacher, inputs: Inputs, description: str = "soft targets"
) -> Iterator[Predictions]:
    """What a teacher predicts for every input, a few thousand rows at a time.

    It maps n inputs to logits [n, C] (a module), or to predictions or log-probabilities [n, C] (any
    other callable). ``description`` is that of the progress bar.
    """
    ask = online(teacher)
    with progress(description, len(inputs)) as bar:
        for index in torch.arange(len(inputs)).split(ROWS_AT_A_TIME):
            yield ask(only_rows(inputs, index))
            bar.advance(len(index))


def teacher_predictions(teacher: OnlineTeacher, inputs: Inputs) -> Predictions:
    """The blocks of :func:`teacher_blocks` as one: offline targets."""
    return concatenated(list(teacher_blocks(teacher, inputs)))


@dataclass(frozen=True)
class TargetRows:
    """A teacher's predictions as targets of a training, gathered batch by batch."""

    predictions: Predictions

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.predictions[index].dense()


@dataclass(frozen=True)
class TaughtBatch(Batch):
    """Inputs on the CPU whose soft targets the teacher gives on the way to the device."""

    teacher: Callable[[Inputs], Predictions] = field(kw_only=True)

    def to(self, device: torch.device) -> Batch:
        soft = self.teacher(self.inputs).dense()
        return Batch(self.inputs, (soft, *self.targets)).to(device)

    def pin_memory(self) -> Batch:
        pinned = super().pin_memory()
        return TaughtBatch(pinned.inputs, pinned.targets, teacher=self.teacher)


@dataclass(frozen=True)
class TaughtExamples:
    """Training batches of (soft target, label), the soft targets asked for anew each time.

    The targets of ``examples`` are the labels alone.
    """

    examples: TensorExamples
    teacher: Callable[[Inputs], Predictions]

    def __len__(self) -> int:
        return len(self.examples)

    def order(self, generator: Generator) -> Tensor:
        return self.examples.order(generator)

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        batch = self.examples.batch(index, generator)
        return TaughtBatch(batch.inputs, batch.targets, teacher=self.teacher)


def labelled_rows(labels: Tensor, share: float, seed: int) -> Tensor:
    """Indices of a random ``share``, in (0, 1], of the rows of every class, ascending.

    At least one row of each class; ``labels`` is int64 of shape (n,).
    """
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    order = shuffled[labels[shuffled].argsort(stable=True)]  # class after class, each at random
    counts = torch.bincount(labels)
    classes = labels[order]
    rank = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[classes]
    wanted = (share * counts).round().clamp_min(1)
    return order[rank < wanted[classes]].sort().values
