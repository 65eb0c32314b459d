"""Which optimiser moves which parameter, and how does its rate change over the steps?

AdamW for dense parameters, with decoupled weight decay on matrices only; Adagrad for sparse
embedding tables, outside of clipping and weight decay. The rate rises linearly over the warm-up
and falls to zero as half a cosine.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from specialists.config import Recipe
from specialists.networks import HashedEmbedding
from specialists.training.table_adagrad import TableAdagrad


class Optimisers:
    """The optimisers of one network with their common schedule.

    The rate reaches zero after ``n_steps`` steps.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, n_steps: int) -> None:
        self.dense, sparse = dense_and_sparse(network)
        self.clip = recipe.clip
        self.optimisers: list[Optimizer] = []
        if self.dense:
            self.optimisers.append(_adamw(self.dense, recipe))
        if sparse:
            rate = recipe.embedding_learning_rate or recipe.learning_rate
            assert rate is not None
            self.optimisers.append(TableAdagrad(sparse, lr=rate))
        factor = _schedule(n_steps, round(recipe.warmup * n_steps))
        self.schedules = [LambdaLR(optimiser, factor) for optimiser in self.optimisers]
        self.parts = [*self.optimisers, *self.schedules]

    def step(self) -> None:
        """Clip the dense gradients, move every parameter, advance the schedule."""
        torch.nn.utils.clip_grad_norm_(self.dense, self.clip)
        for optimiser, schedule in zip(self.optimisers, self.schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()

    @property
    def learning_rate(self) -> float:
        """Rate of the next step of the first optimiser."""
        return float(self.optimisers[0].param_groups[0]["lr"])

    def state_dict(self) -> dict:
        return {str(i): part.state_dict() for i, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict) -> None:
        for i, part in enumerate(self.parts):
            part.load_state_dict(state[str(i)])


def dense_and_sparse(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters: those whose gradients are dense, and tables with sparse ones."""
    tables = [
        next(module.parameters())
        for module in network.modules()
        if isinstance(module, HashedEmbedding)
        or (isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse)
    ]
    sparse = dict.fromkeys(table for table in tables if table.requires_grad)
    dense = [p for p in network.parameters() if p.requires_grad and p not in sparse]
    return dense, list(sparse)


def _adamw(parameters: list[nn.Parameter], recipe: Recipe) -> Optimizer:
    assert recipe.learning_rate is not None
    matrices = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    parts = ((matrices, recipe.weight_decay), (others, 0.0))
    groups = [{"params": part, "weight_decay": decay} for part, decay in parts if part]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def _schedule(n_steps: int, n_warmup: int):
    def factor(step: int) -> float:
        if step < n_warmup:
            return (step + 1) / (n_warmup + 1)
        progress = (step - n_warmup) / max(1, n_steps - n_warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
