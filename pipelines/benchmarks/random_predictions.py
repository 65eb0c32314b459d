"""Random predictions for the benchmark of the combination: usual ones, and adversarial ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specialists.combination import Subsets


@dataclass(frozen=True)
class Case:
    """Random predictions: log-softmax of normal logits with deviation 3.

    ``top`` of the generalist's classes select the specialists; with ``top`` 0 it is ``n_active``
    random ones in every row.
    """

    name: str
    n_rows: int
    n_classes: int
    n_subsets: int
    size: int
    overlapping: bool
    n_active: int = 0
    top: int = 0


CASES = (
    Case("C = 1,000, 20 disjoint of 40, 3 active", 32768, 1000, 20, 40, False, n_active=3),
    Case("C = 10,000, 60 disjoint of 100, 3 active", 8192, 10_000, 60, 100, False, n_active=3),
    Case("C = 15,000, 61 overlapping of 300, n = 1", 6144, 15_000, 61, 300, True, top=1),
    Case("C = 15,000, 61 overlapping of 300, n = 5", 6144, 15_000, 61, 300, True, top=5),
)
QUICK_CASES = (
    Case("disjoint", 64, 50, 3, 8, False, n_active=2),
    Case("overlapping", 64, 50, 4, 20, True, top=2),
)


@dataclass(frozen=True)
class CombineArguments:
    """Arguments of ``combine``."""

    generalist: Tensor
    specialists: list[Tensor]
    subsets: Subsets
    active: Tensor

    def head(self, n: int) -> CombineArguments:
        specialists = [log_p[:n] for log_p in self.specialists]
        return CombineArguments(self.generalist[:n], specialists, self.subsets, self.active[:n])

    def to(self, device: str) -> CombineArguments:
        specialists = [log_p.to(device) for log_p in self.specialists]
        subsets = Subsets.from_indices(self.subsets.indices, self.subsets.n_classes, device)
        return CombineArguments(
            self.generalist.to(device), specialists, subsets, self.active.to(device)
        )

    def combined_by(self, method: Callable) -> Callable:
        return lambda: method(self.generalist, self.specialists, self.subsets, self.active)


def draw_predictions(case: Case, seed: int = 0) -> CombineArguments:
    """Predictions in float32."""
    random = torch.Generator().manual_seed(seed)

    def log_probs(width: int) -> Tensor:
        return (3 * torch.randn(case.n_rows, width, generator=random)).log_softmax(1)

    generalist = log_probs(case.n_classes)
    n_orders, n_each = (case.n_subsets, 1) if case.overlapping else (1, case.n_subsets)
    orders = [torch.randperm(case.n_classes, generator=random) for _ in range(n_orders)]
    parts = [part for order in orders for part in order[: n_each * case.size].split(case.size)]
    subsets = Subsets.from_indices(parts, case.n_classes)
    if case.top:
        active = subsets.member[:, generalist.topk(case.top, dim=1).indices].any(2).T
    else:
        chosen = torch.rand(case.n_rows, case.n_subsets, generator=random).topk(case.n_active, 1)
        active = torch.zeros(case.n_rows, case.n_subsets, dtype=torch.bool)
        active.scatter_(1, chosen.indices, True)
    return CombineArguments(generalist, [log_probs(case.size + 1) for _ in parts], subsets, active)


def adversarial(n_rows: int, dtype: torch.dtype, device: str) -> Iterator[tuple]:
    """Arguments of ``combine`` in batches: masses over up to 60 decades, a tenth exactly zero."""
    random = np.random.default_rng(0)
    n_classes, n, batches = 40, n_rows // 16, itertools.product((1, 3, 10, 60), range(4))
    for decades, kind in batches:
        order = random.permutation(n_classes)
        nested = [order[:size] for size in (5, 12, 30)]
        disjoint = np.split(order, [8, 20, 28])
        overlapping = [random.permutation(n_classes)[:size] for size in (3, 15, 20, 25, 38)]
        subsets = (disjoint[:3], disjoint, nested, overlapping)[kind]
        values = [_masses(random, n, len(subset) + 1, decades) for subset in subsets]
        active = torch.from_numpy(random.random((n, len(subsets))) < 0.7).to(device)
        weights = torch.from_numpy(random.uniform(0.1, 5, len(subsets))).to(device)
        yield (
            _masses(random, n, n_classes, decades).to(device, dtype),
            [value.to(device, dtype) for value in values],
            [torch.from_numpy(subset).to(device) for subset in subsets],
            active,
            weights,
        )


def _masses(random: np.random.Generator, n: int, width: int, decades: float) -> Tensor:
    values = -np.log(10) * decades * random.random((n, width))
    values[random.random((n, width)) < 0.1] = -np.inf
    values[np.isinf(values).all(1), 0] = 0.0
    return torch.from_numpy(values).log_softmax(1)
