"""A teacher that is asked about every batch as the student sees it.

Stored targets are what the teacher says of the training inputs as they are, most of which its parts
know by heart. Asked about augmented inputs it says more of what it would say elsewhere; the student
learns to be the same function (Beyer et al. 2022, "Knowledge distillation: A good teacher is
patient and consistent", section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from specialists.datasets.base import Inputs
from specialists.ensemble import Ensemble, Rule
from specialists.runs import read_json
from specialists.training import Batch, TensorExamples
from specialists.workspace import Workspace

Teacher = Callable[[Inputs], Tensor]
LiveTeacher = Literal["ensemble", "generalist"]


def teacher_of(workspace: Workspace, name: LiveTeacher) -> Teacher:
    """Maps n inputs to log-probabilities of a teacher, [n, C], on the CPU.

    Either `ensemble`, its specialists asked about every row, or its generalist.
    """
    ensemble = Ensemble.open(workspace)
    rule = teaching_rule(workspace)
    if name == "generalist":
        rule = replace(rule, members=())
    return lambda inputs: ensemble.log_probs(inputs, rule)


def teaching_rule(workspace: Workspace) -> Rule:
    """The rule of `ensemble`, its specialists asked about every row, whatever that costs.

    A generalist is sure of most of what it was trained on, so that a teacher who leaves sure rows
    to it would hand on little of what the specialists know; and a teacher's inference is paid for
    in training only.
    """
    choice = read_json(workspace.path("combine-predictions", "choice.json"))
    return replace(Rule.from_dict(choice["chosen"]), confidence=None)


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
    """

    examples: TensorExamples
    teacher: Teacher

    def __len__(self) -> int:
        return len(self.examples)

    def order(self, generator: Generator) -> Tensor:
        return self.examples.order(generator)

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        batch = self.examples.batch(index, generator)
        return TaughtBatch(batch.inputs, batch.targets, teacher=self.teacher)
