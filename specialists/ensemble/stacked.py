"""How do many small networks of one shape run as one? Their layers get a leading axis.

A few rows a specialist leave a processor idle: dispatching a layer takes longer than computing it.
Layers of M specialists that agree in everything but the number of classes are M matrices in one
product. Heads are filled up with classes whose logit is -inf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.datasets.base import Inputs, Ragged
from specialists.networks import Beside, HashedEmbedding
from specialists.networks.blocks import QuickDropout
from specialists.specialist import Specialist

MOST_NUMBERS = 2**24  # of weights that lie in memory a second time
ROWS_WORTH_A_CALL, ROWS_WORTH_A_NETWORK = 64, 8

Layer = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StackedSpecialists:
    """M specialists of one shape with copies of their weights, n-gram tables excepted.

    Parameters
    ----------
    tables : list of M HashedEmbeddings
        The lowest layer; empty where there is none.
    layers : sequence of functions
        From (M, r, d) to (M, r, d').
    heads : weights (M, d, s + 1) and biases (M, 1, s + 1)
        They give logits whose dustbins are corrected, k_m + 1 of them finite.
    temperatures : Tensor of shape (M, 1, 1)
    n_outputs : list of M ints
        k_m + 1.
    weights : tuple of Tensors
        Those that were copied.
    versions : list
        What they were then.
    """

    tables: list[HashedEmbedding]
    layers: Sequence[Layer]
    heads: tuple[Tensor, Tensor]
    temperatures: Tensor
    n_outputs: list[int]
    weights: tuple[Tensor, ...]
    versions: list[tuple[int, int]]

    @classmethod
    def of(cls, specialists: Sequence[Specialist]) -> StackedSpecialists | None:
        """None where they differ in shape, are made of other layers, or are large."""
        chains = [_layers(specialist.network) for specialist in specialists]
        if len(chains) < 2 or not _alike(chains):
            return None
        tables = [chain[0] for chain in chains if isinstance(chain[0], HashedEmbedding)]
        dense = [chain[bool(tables) :] for chain in chains]
        weights = tuple(w for chain in dense for layer in chain for w in layer.parameters())
        if sum(weight.numel() for weight in weights) > MOST_NUMBERS:
            return None
        *lower, heads = zip(*dense, strict=True)
        temperatures = [specialist.calibration.temperature for specialist in specialists]
        return cls(
            tables,
            [*map(_stacked, lower)],
            _with_calibration(_linear(heads), specialists),
            torch.tensor(temperatures, device=weights[0].device)[:, None, None],
            [len(specialist.subset) + 1 for specialist in specialists],
            weights,
            _versions(weights),
        )

    @property
    def is_current(self) -> bool:
        """Whether the copied weights are still those of the networks."""
        return self.versions == _versions(self.weights)

    @staticmethod
    def limit(counts: Sequence[int]) -> int:
        """Up to how many rows a specialist is not worth a call of its own, where it has so many.

        Together they are padded to the largest of them, and those without rows are computed too.
        """

        def cost(limit: int) -> int:
            calls = sum(count > limit for count in counts) + (limit > 0)
            padded = len(counts) * (ROWS_WORTH_A_NETWORK + limit) if limit else 0
            return ROWS_WORTH_A_CALL * calls + padded

        return min({0, *counts}, key=cost)

    def log_probs(self, inputs: Inputs, counts: Sequence[int], at: Tensor) -> Tensor:
        """Log-probabilities (N, s + 1), in the first k_m + 1 columns those of a specialist.

        Here s is the largest k_m of those that are asked.

        Parameters
        ----------
        inputs : Tensor or Ragged of N rows
            Those of the first specialist, then those of the second ...
        counts : sequence of M ints
        at : int64 Tensor of shape (N,)
            m r + i for the i-th row of specialist m, where r is the largest count.
        """
        n, r = len(counts), max(counts)
        lowest = self._bags(inputs, counts) if self.tables else inputs
        assert isinstance(lowest, Tensor)
        x = lowest.new_zeros(n * r, lowest.shape[1]).index_copy_(0, at, lowest).view(n, r, -1)
        columns = max(size for size, n in zip(self.n_outputs, counts, strict=True) if n)
        weight, bias = (part[:, :, :columns] for part in self.heads)
        x = torch.baddbmm(bias, _applied(self.layers, x), weight)
        x = (x - x.amax(-1, keepdim=True)).div_(self.temperatures).log_softmax(-1)
        return x.view(n * r, -1).index_select(0, at)

    def _bags(self, inputs: Inputs, counts: Sequence[int]) -> Tensor:
        assert isinstance(inputs, Ragged)
        hashes, device = inputs.values, inputs.values.device
        sizes = torch.tensor(counts, device=device)
        ends = F.pad(inputs.offsets[sizes.cumsum(0)], (1, 0))
        before = ends[:-1].repeat_interleave(sizes, output_size=len(inputs))
        starts = inputs.offsets[:-1] - before
        parts = zip(
            self.tables,
            (hashes & self.tables[0].mask).split(ends.diff().tolist()),
            starts.to(hashes.dtype).split(list(counts)),
            strict=True,
        )
        return torch.cat([table.means(rows, at) for table, rows, at in parts if len(at)])


def _layers(network: nn.Module) -> list[nn.Module]:
    """The layers of a chain, without those that do nothing in evaluation mode."""
    if type(network) is nn.Sequential and not _is_watched(network):
        return [layer for part in network for layer in _layers(part)]
    return [] if type(network) in (nn.Dropout, QuickDropout, nn.Identity) else [network]


def _is_watched(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _alike(chains: Sequence[Sequence[nn.Module]]) -> bool:
    """Whether chains of known layers agree in all but the outputs of the last, which is linear."""
    shapes = [[_shape(layer) for layer in chain] for chain in chains]
    if any(not all(chain) or not "".join(chain[-1:]).startswith("linear") for chain in shapes):
        return False
    below = {tuple(chain[:-1]) for chain in shapes}
    heads = {chain[-1].rpartition(" ")[0] for chain in shapes}
    return len(below) == len(heads) == 1 and not any("table" in s for s in shapes[0][1:])


def _shape(layer: nn.Module) -> str:
    """In words; nothing for a layer that is not known here, or whose calls somebody watches."""
    if _is_watched(layer) or any(w.dtype != torch.float32 for w in layer.parameters()):
        return ""
    if type(layer) is nn.Linear:
        return f"linear {layer.in_features} {layer.bias is None} {layer.out_features}"
    if type(layer) is HashedEmbedding:
        return f"table {tuple(layer.weight.shape)}"
    if type(layer) is Beside:
        inner = [_shape(part) for part in layer.layers]
        return f"beside {inner}" if all(inner) else ""
    return "relu" if type(layer) is nn.ReLU else ""


def _stacked(layers: Sequence[nn.Module]) -> Layer:
    """One function (M, r, d) -> (M, r, d') for M layers of one shape."""
    first = layers[0]
    if isinstance(first, nn.Linear):
        weight, bias = _linear(layers)
        return lambda x: torch.baddbmm(bias, x, weight)
    if isinstance(first, Beside):
        inner = [_stacked(parts) for parts in zip(*(b.layers for b in layers), strict=True)]
        return lambda x: torch.cat([x, _applied(inner, x)], dim=-1)
    return F.relu


def _applied(layers: Sequence[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _linear(layers: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Weights (M, d, d') and biases (M, 1, d'); outputs that a layer does not have are -inf."""
    n_outputs = max(layer.out_features for layer in layers)
    first = layers[0].weight.detach()
    weight = first.new_zeros(len(layers), first.shape[1], n_outputs)
    bias = first.new_full((len(layers), 1, n_outputs), -torch.inf)
    for m, layer in enumerate(layers):
        weight[m, :, : layer.out_features] = layer.weight.detach().T
        bias[m, 0, : layer.out_features] = 0.0 if layer.bias is None else layer.bias.detach()
    return weight, bias


def _with_calibration(
    heads: tuple[Tensor, Tensor], specialists: Sequence[Specialist]
) -> tuple[Tensor, Tensor]:
    """The heads, with what calibration adds to the dustbins."""
    weight, bias = heads
    for m, specialist in enumerate(specialists):
        calibration = specialist.calibration
        bias[m, 0, len(specialist.subset)] += calibration.correction + calibration.dustbin_bias
    return weight, bias


def _versions(weights: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(weight.data_ptr(), weight._version) for weight in weights]
