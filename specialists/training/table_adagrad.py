"""Adagrad for embedding tables: how are the few rows moved that a step has read?

For a gradient g of a row, number by number (Duchi, Hazan and Singer 2011):

    s <- s + g^2,    w <- w - rate g / (sqrt(s) + 1e-10)

Only rows that were read are touched. Compiled code moves them where there is some
(:mod:`specialists.training.row_descent`). Else they are copied out, moved and copied back, a block
at a time that stays in a processor's cache, which takes a quarter of the time of
``torch.optim.Adagrad`` and its sparse tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from specialists.large_tables import zero_table
from specialists.networks import sum_by_row
from specialists.training.row_descent import descend_rows, descends_compiled

BLOCK = 49_152  # numbers: 192 KiB in float32, of which five lie in the cache at once
EPSILON = 1e-10


class TableAdagrad(Optimizer):
    """Adagrad for tables (n_rows, d) whose gradients are sparse, or dense where tables are tied.

    Parameters
    ----------
    tables : iterable of Parameters
    lr : float
        The rate of a step, which a schedule may change.
    """

    def __init__(self, tables: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(tables, {"lr": lr})
        for group in self.param_groups:
            for table in group["params"]:
                self.state[table]["sum"] = zero_table(table.shape, table.dtype).to(table.device)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move what has a gradient. ``closure`` is not called: no loss is needed."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    _move(table, self.state[table]["sum"], table.grad, group["lr"])


def _move(table: Tensor, sums: Tensor, gradient: Tensor, rate: float) -> None:
    if not gradient.is_sparse:
        _descend(table, sums, gradient, rate)
        return
    rows, values = _distinct(gradient)
    if descends_compiled(table):
        descend_rows(table, sums, rows, values, rate, EPSILON)
        return
    block = max(1, BLOCK // table.shape[1]) if table.device.type == "cpu" else max(1, len(rows))
    for some, part in zip(rows.split(block), values.split(block), strict=True):
        moved, raised = table.index_select(0, some), sums.index_select(0, some)
        _descend(moved, raised, part, rate)
        table.index_copy_(0, some, moved)
        sums.index_copy_(0, some, raised)


def _descend(weights: Tensor, sums: Tensor, gradient: Tensor, rate: float) -> None:
    sums.addcmul_(gradient, gradient)
    weights.addcdiv_(gradient, sums.sqrt().add_(EPSILON), value=-rate)


def _distinct(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a sparse gradient, each once, and their values.

    A hashed embedding's are so already, though autograd forgets to say so.
    """
    rows, values = gradient._indices()[0], gradient._values()
    if bool((rows.diff() > 0).all()):
        return rows, values
    return sum_by_row(rows, torch.arange(len(rows), device=rows.device), values)
