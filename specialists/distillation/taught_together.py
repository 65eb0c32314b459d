"""Networks that teach while they are trained: peers, or one network and its exits.

Each is one module to a training loop, and puts out what its student does. In training mode it keeps
the lessons of a batch: whose logits learn, and from which others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.distillation.objective import Objective
from specialists.distillation.terms.layers import MAP_DIMS
from specialists.distillation.terms.response import Labels
from specialists.distillation.terms.term import (
    CLASSES,
    LABELS,
    RAW_LOGITS,
    TARGETS,
    BatchView,
    Term,
)
from specialists.distillation.watching import MATRIX_DIMS, layer_outputs
from specialists.errors import InputError

Lesson = tuple[Tensor, list[Tensor]]  # logits, and those of each of their teachers, if any
SAMPLE_ROWS = 2


class TaughtTogether(nn.Module, ABC):
    """A student, and what is trained along with it."""

    def __init__(self) -> None:
        super().__init__()
        self._lessons: list[Lesson] = []

    @property
    @abstractmethod
    def student(self) -> nn.Module:
        """The network that is wanted."""

    @abstractmethod
    def teach(self, inputs: Inputs) -> list[Lesson]:
        """The lessons of a batch, that of the student first."""

    def forward(self, inputs: Inputs) -> Tensor:
        """The student's logits; in training mode the lessons are kept."""
        if not self.training:
            return self.student(inputs)
        self._lessons = self.teach(inputs)
        return self._lessons[0][0]

    def lessons(self) -> list[Lesson]:
        """Those of the last batch, once."""
        kept, self._lessons = self._lessons, []
        return kept


class Peers(TaughtTogether):
    """Networks each of which is taught by all others; the first is the student."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    @property
    def student(self) -> nn.Module:
        return self.networks[0]

    def teach(self, inputs: Inputs) -> list[Lesson]:
        logits = [network(inputs) for network in self.networks]
        return [(one, [other.detach() for other in logits if other is not one]) for one in logits]


class WithExits(TaughtTogether):
    """A network that teaches linear classifiers on some of its layers; it learns the labels itself.

    Raises an InputError if no layer is named, or there is none at a path.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], inputs: Inputs) -> None:
        super().__init__()
        if not layers:
            raise InputError("a network without exits teaches nothing", expected="paths of layers")
        self.network, self.layers = network.eval(), tuple(layers)
        sample = inputs[torch.arange(min(SAMPLE_ROWS, len(inputs)))]
        with torch.no_grad(), layer_outputs(network, self.layers, "student") as outputs:
            n_classes = network(sample).shape[1]
        sizes = [_mean_over_places(outputs[path]).shape[1] for path in self.layers]
        self.exits = nn.ModuleList(nn.Linear(size, n_classes) for size in sizes)

    @property
    def student(self) -> nn.Module:
        return self.network

    def teach(self, inputs: Inputs) -> list[Lesson]:
        with layer_outputs(self.network, self.layers, "student") as outputs:
            last = self.network(inputs)
        lessons: list[Lesson] = [(last, [])]
        for path, classifier in zip(self.layers, self.exits, strict=True):
            lessons.append((classifier(_mean_over_places(outputs[path])), [last.detach()]))
        return lessons


def _mean_over_places(features: Tensor) -> Tensor:
    """A row of numbers for each input: of maps [n, c, h, w] their channels, else the last axis."""
    if features.dim() >= MAP_DIMS:
        features = features.movedim(1, -1)
    return features.flatten(1, -2).mean(1) if features.dim() > MATRIX_DIMS else features


class LessonLoss:
    """The sum over lessons of an objective, each the mean over its teachers; else of the labels.

    Raises an InputError if a term needs layers, or there is no term.
    """

    def __init__(
        self, together: TaughtTogether, terms: Sequence[Term], smoothing: float = 0.0
    ) -> None:
        self.together, self.taught = together, Objective(terms)
        self.alone = Objective([Labels(smoothing=smoothing)])
        self.taught.check({LABELS, TARGETS, CLASSES, RAW_LOGITS})

    def __call__(self, logits: Tensor, labels: Tensor, *weights: Tensor) -> Tensor:
        """The value of the last batch, a scalar; its rows may have weights, (n,)."""
        values = []
        for learner, teachers in self.together.lessons():
            parts = [self.taught(BatchView(learner, t, labels), *weights) for t in teachers]
            parts = parts or [self.alone(BatchView(learner, None, labels), *weights)]
            values.append(torch.stack(parts).mean())
        return torch.stack(values).sum()
