"""Soft targets of the very inputs that the student sees, although these are augmented.

Offline targets are of the inputs as they are, and the student sees others. A teacher that is asked
about every batch costs its inference each time. Here an augmentation comes again from a seed and
the number of a view, so that the teacher is asked once about a few views of all inputs, and the
student is shown these (Shen and Xing 2022, "A Fast Knowledge Distillation Framework for Visual
Recognition"). Each epoch shows one of them, drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from specialists.datasets.base import Inputs, joined_inputs
from specialists.predictions import ROWS_AT_A_TIME
from specialists.runtime import derive_seed
from specialists.training import Batch
from specialists.training.examples import Augmentation, IndexedRows, gathered


@dataclass(frozen=True)
class ReplayedViews:
    """An augmentation whose views 0 to ``n_views`` - 1 of some inputs can be had again.

    Called as any augmentation it draws from the generator that it is given.

    Parameters
    ----------
    augment : callable
    seed : int
    n_views : int
    """

    augment: Augmentation
    seed: int
    n_views: int

    def __call__(self, inputs: Inputs, generator: Generator) -> Inputs:
        return self.augment(inputs, generator)

    def view(self, inputs: Inputs, number: int) -> Inputs:
        """All rows of a view; it depends on which rows there are, and on their order."""
        parts = [
            self.augment(inputs[rows], self._generator(number, part))
            for part, rows in enumerate(torch.arange(len(inputs)).split(ROWS_AT_A_TIME))
        ]
        return joined_inputs(parts)

    def _generator(self, number: int, part: int) -> Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, "view", number, part))


@dataclass(frozen=True)
class ReplayedExamples:
    """Every example once an epoch, as one of the views shows it, and the targets of that view.

    Parameters
    ----------
    inputs : Tensor or Ragged of n rows
    views : ReplayedViews
    soft : sequence of rows, ``n_views`` times n each
        What the teacher says: all rows of view 0, then those of view 1, and so on.
    hard : tuple of Tensors with n rows each
        Labels, and weights where there are any.
    """

    inputs: Inputs
    views: ReplayedViews
    soft: Sequence[IndexedRows]
    hard: tuple[Tensor, ...]
    _shown: dict[int, Inputs] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.inputs)

    def order(self, generator: Generator) -> Tensor:
        """Places of an epoch's rows among those of all views: number times n, and the row."""
        number = torch.randint(self.views.n_views, (1,), generator=generator)
        return number * len(self) + torch.randperm(len(self), generator=generator)

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        """Rows of one view; nothing is drawn from the generator."""
        number = int(index[0]) // len(self)
        if number not in self._shown:
            self._shown.clear()
            self._shown[number] = self.views.view(self.inputs, number)
        rows = index - number * len(self)
        targets = (*gathered(self.soft, index), *gathered(self.hard, rows))
        return Batch(self._shown[number][rows], targets)
