"""What does a training cost? Examples seen, and floating-point operations.

A step counts its forward and its backward pass (matrix products, convolutions and embedding bags,
as :func:`specialists.networks.inference_flops` counts them) and the updates of its optimisers:
every dense parameter, and of an n-gram table the distinct rows that the step touches, by their
width. Other element-wise operations and validation are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specialists.networks import counted_flops, outputs_of
from specialists.training.examples import Batch
from specialists.training.optimisers import dense_and_sparse

# Of each parameter: decay 1, first moment 3, second 4, root and its correction 3, step 3.
ADAMW_FLOPS = 14
ADAGRAD_FLOPS = 7  # of each parameter: sum of squares 2, root 2, step 3


@dataclass(frozen=True)
class TrainingCost:
    """Examples seen, repetitions included, and floating-point operations."""

    examples: int = 0
    flops: float = 0.0

    def __add__(self, other: TrainingCost) -> TrainingCost:
        return TrainingCost(self.examples + other.examples, self.flops + other.flops)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> TrainingCost:
        """The cost in a JSON object that holds what :meth:`to_dict` gives, among other things."""
        return cls(int(values["training_examples"]), values["training_flops"])

    def to_dict(self) -> dict[str, float]:
        return {"training_examples": self.examples, "training_flops": self.flops}


def flops_per_example(network: nn.Module, batch: Batch, loss: Callable[..., Tensor]) -> float:
    """Floating-point operations of one training step on ``batch``, divided by its examples.

    Buffers and the state of torch's random numbers are as before; gradients are None.
    """
    buffers = [
        (module, name, None if value is None else value.clone())
        for module in network.modules()
        for name, value in module._buffers.items()
    ]
    device = next(network.parameters()).device
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), counted_flops(network) as counter:
        loss(outputs_of(network, batch.inputs).float(), *batch.targets).backward()
    flops = counter.get_total_flops() + _update_flops(network)
    network.zero_grad(set_to_none=True)
    for module, name, value in buffers:
        module._buffers[name] = value
    return flops / len(batch)


def _update_flops(network: nn.Module) -> float:
    dense, tables = dense_and_sparse(network)
    return ADAMW_FLOPS * sum(p.numel() for p in dense) + sum(map(_table_flops, tables))


def _table_flops(table: nn.Parameter) -> int:
    """Operations on a table: duplicate rows of its gradient are summed, each row is moved once.

    A hashed embedding sums them in its backward pass, where a bag counts them.
    """
    if table.grad is None:
        return 0
    if not table.grad.is_sparse:  # the table is a dense layer's weight too
        return ADAGRAD_FLOPS * table.numel()
    n_indices, n_rows = table.grad._nnz(), table.grad.coalesce()._nnz()
    return table.shape[1] * ((n_indices - n_rows) + ADAGRAD_FLOPS * n_rows)
