"""A teacher that is asked about every batch as the student sees it.

Stored targets are what the teacher says of the training inputs as they are, most of which its parts
know by heart. Asked about augmented inputs, and about mixtures of two, it says more of what it
would say elsewhere; the student learns to be the same function (Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent", section 2; mixtures: Zhang et al. 2018,
"mixup: Beyond empirical risk minimization", equation 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from specialists.datasets.base import Inputs
from specialists.ensemble import Ensemble, Rule
from specialists.losses import UNLABELLED
from specialists.runs import read_json
from specialists.training import Batch, TensorExamples
from specialists.workspace import Workspace

Teacher = Callable[[Inputs], Tensor]


def ensemble_teacher(workspace: Workspace) -> Teacher:
    """Maps n inputs to the ensemble's log-probabilities, shape (n, C), on the CPU."""
    ensemble = Ensemble.open(workspace)
    choice = read_json(workspace.path("combine-predictions", "choice.json"))
    rule = Rule.from_dict(choice["chosen"])
    return lambda inputs: ensemble.log_probs(inputs, rule)


@dataclass(frozen=True)
class TaughtBatch(Batch):
    """Inputs whose soft targets the teacher gives on the way to the device.

    Parameters
    ----------
    teacher : callable
        Maps inputs on the CPU to log-probabilities of shape (n, C).
    """

    teacher: Teacher = field(kw_only=True)

    def to(self, device: torch.device) -> Batch:
        soft = self.teacher(self.inputs)
        return Batch(self.inputs, (soft, *self.targets)).to(device)

    def pin_memory(self) -> Batch:
        pinned = super().pin_memory()
        return TaughtBatch(pinned.inputs, pinned.targets, teacher=self.teacher)


@dataclass(frozen=True)
class TaughtExamples:
    """Training batches of (soft target, label), the soft targets asked for anew each time.

    Parameters
    ----------
    examples : TensorExamples
        Their targets are the labels alone.
    teacher : callable
    mixup : float
        Share of a batch's inputs that are mixed with another one of it, in equal measure of every
        proportion; their labels are hidden.
    """

    examples: TensorExamples
    teacher: Teacher
    mixup: float = 0.0

    def __len__(self) -> int:
        return len(self.examples)

    def order(self, generator: Generator) -> Tensor:
        return self.examples.order(generator)

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        batch = self.examples.batch(index, generator)
        inputs, (labels,) = batch.inputs, batch.targets
        if self.mixup:
            assert isinstance(inputs, Tensor)
            inputs, mixed = mix(inputs, self.mixup, generator)
            labels = labels.masked_fill(mixed, UNLABELLED)
        return TaughtBatch(inputs, (labels,), teacher=self.teacher)


def mix(inputs: Tensor, share: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Replace a random ``share`` of the rows by l x + (1 - l) x', l uniform, x' another row.

    Parameters
    ----------
    inputs : Tensor of shape (n, ...)
        Bytes are rounded again.
    share : float
    generator : Generator
        Of the CPU.

    Returns
    -------
    inputs : Tensor of the shape and type of ``inputs``
    mixed : bool Tensor of shape (n,)
    """
    n = len(inputs)
    partner = torch.randperm(n, generator=generator)
    mixed = torch.rand(n, generator=generator) < share
    weight = torch.where(mixed, torch.rand(n, generator=generator), torch.ones(n))
    weight = weight.reshape(n, *[1] * (inputs.dim() - 1))
    values = inputs if inputs.is_floating_point() else inputs.float()
    both = weight * values + (1 - weight) * values[partner]
    if not inputs.is_floating_point():
        both = both.round_()
    return both.to(inputs.dtype), mixed
