"""What does a training loop draw from? Orders of an epoch, and batches gathered by index.

No batch costs a Python loop over its examples: inputs are tensors or flat ragged arrays, targets
are tensors, and augmentation acts on whole batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from specialists.datasets.base import Inputs
from specialists.runtime import derive_seed

Augmentation = Callable[[Inputs, Generator], Inputs]
MANY_TIMES = 8  # fewer than one in so many are drawn one by one


@dataclass(frozen=True)
class Batch:
    """Inputs of a step, and the targets, which the loss takes after the network's outputs."""

    inputs: Inputs
    targets: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Batch:
        targets = tuple(target.to(device, non_blocking=True) for target in self.targets)
        return Batch(self.inputs.to(device, non_blocking=True), targets)

    def pin_memory(self) -> Batch:
        return Batch(self.inputs.pin_memory(), tuple(t.pin_memory() for t in self.targets))


class IndexedRows(Protocol):
    """What targets are gathered from: a tensor, or rows on disk."""

    def __getitem__(self, index: Tensor, /) -> Tensor: ...


class Examples(Protocol):
    """A source of training batches."""

    def __len__(self) -> int:
        """Examples in an epoch."""
        ...

    def order(self, generator: Generator) -> Tensor:
        """Indices of one epoch, int64 of shape (len(self),)."""
        ...

    def batch(self, index: Tensor, generator: Generator) -> Batch: ...


@dataclass(frozen=True)
class TensorExamples:
    """Every example once an epoch, in random order.

    Parameters
    ----------
    inputs : Tensor or Ragged of n rows
    targets : tuple of Tensors with n rows each
        Those in half precision stay so: a loss converts them, which is quicker in its cache.
    augment : callable, optional
        Maps a batch of inputs and a generator to changed inputs.
    """

    inputs: Inputs
    targets: tuple[IndexedRows, ...]
    augment: Augmentation | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def order(self, generator: Generator) -> Tensor:
        return torch.randperm(len(self), generator=generator)

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        inputs = self.inputs[index]
        if self.augment is not None:
            inputs = self.augment(inputs, generator)
        return Batch(inputs, gathered(self.targets, index))


def gathered(targets: Sequence[IndexedRows], index: Tensor) -> tuple[Tensor, ...]:
    """Some rows of each target; double precision as float32, half precision as it is."""
    rows = (target[index] for target in targets)
    return tuple(t.float() if t.dtype == torch.float64 else t for t in rows)


@dataclass(frozen=True)
class BalancedExamples:
    """A share s of an epoch, half unless told otherwise, from a subset; the rest from all others.

    An epoch holds every subset example once and (1 - s) / s times as many of the others, drawn anew
    each epoch without replacement (with, where there are too few).

    Parameters
    ----------
    inside, outside : int64 Tensors
        Indices of the subset's examples, not empty, and of all others.
    share : float
        s, in (0, 1).
    """

    examples: TensorExamples
    inside: Tensor
    outside: Tensor
    share: float = 0.5

    @property
    def n_outside(self) -> int:
        if len(self.outside) == 0:
            return 0
        return max(1, round(len(self.inside) * (1 - self.share) / self.share))

    def __len__(self) -> int:
        return len(self.inside) + self.n_outside

    def order(self, generator: Generator) -> Tensor:
        repeats, rest = divmod(self.n_outside, max(1, len(self.outside)))
        draws = [self.outside] * repeats
        draws.append(self.outside[drawn(len(self.outside), rest, generator)])
        index = torch.cat([self.inside, *draws])
        return index[torch.randperm(len(index), generator=generator)]

    def batch(self, index: Tensor, generator: Generator) -> Batch:
        return self.examples.batch(index, generator)


def drawn(n: int, k: int, generator: Generator) -> Tensor:
    """``k`` of the numbers below ``n``, at random and in no order; little work if k is small."""
    if n < MANY_TIMES * k:
        return torch.randperm(n, generator=generator)[:k]
    found = torch.empty(0, dtype=torch.int64)
    while len(found) < k:
        more = torch.randint(n, (k + k // 4 + 1,), generator=generator)
        found = torch.cat([found, more]).unique()
    return found[torch.randperm(len(found), generator=generator)[:k]]


def ordering(seed: int, epoch: int) -> Generator:
    """What an epoch's order, and then its augmentation, is drawn from."""
    return torch.Generator().manual_seed(derive_seed(seed, "order", epoch))


def drawn_rows(examples: Examples, seed: int, n_epochs: int) -> Tensor:
    """The rows that a training reads in so many epochs, each once, int64."""
    orders = [examples.order(ordering(seed, epoch)) for epoch in range(n_epochs)]
    return torch.cat(orders).unique()
