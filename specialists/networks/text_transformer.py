"""A transformer that classifies texts, over rows of token ids of any length.

In evaluation mode rows of like length are computed together, a few at a time, so that little is
padding and memory stays bounded. Its lower blocks can be cut off: :func:`cut_transformer` gives a
trunk whose outputs are the hidden states of every token, and what stands on it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from specialists.datasets.base import Ragged

ROWS_AT_A_TIME = 64
TOLERANCE = 1e-4
UNFIT = (AttributeError, TypeError, ValueError, RuntimeError, LookupError)

Output = TypeVar("Output", Tensor, Ragged)


class TextTransformer(nn.Module):
    """Maps token ids, a :class:`Ragged` of n rows, to logits of shape (n, C).

    Parameters
    ----------
    model : nn.Module
        Of Hugging Face; it takes ``input_ids`` and ``attention_mask``, and its outputs have
        ``logits``.
    pad : int
        Id of the token that fills short rows up.
    """

    def __init__(self, model: nn.Module, pad: int) -> None:
        super().__init__()
        self.model, self.pad = model, pad

    def forward(self, rows: Ragged) -> Tensor:
        """Rows of ids; of hidden states, where the lower blocks are cut off."""
        return self._logits(rows) if self.training else by_length(self._logits, rows)

    def _logits(self, rows: Ragged) -> Tensor:
        ids, mask = padded(rows, self.pad)
        return self.model(input_ids=ids.long(), attention_mask=mask.long()).logits


class TransformerTrunk(nn.Module):
    """The lower blocks: token ids to hidden states, rows of the same lengths.

    ``model`` ends in a block that only hands over what it is given.
    """

    def __init__(self, model: nn.Module, pad: int) -> None:
        super().__init__()
        self.model, self.pad = model, pad

    def forward(self, rows: Ragged) -> Ragged:
        return by_length(self._hidden, rows)

    def _hidden(self, rows: Ragged) -> Ragged:
        ids, mask = padded(rows, self.pad)
        try:
            self.model(input_ids=ids.long(), attention_mask=mask.long())
        except _ReachedError as reached:
            return Ragged(reached.hidden[mask], rows.offsets)
        raise RuntimeError("the transformer did not reach the block at which it was cut")


class TransformerTop(TextTransformer):
    """The upper blocks and the head: hidden states to logits.

    The lower ``blocks`` of ``model`` give the hidden states, whatever they are given.
    """

    def __init__(self, model: nn.Module, pad: int, blocks: str, n_below: int) -> None:
        super().__init__(model, pad)
        self.blocks, self.n_below = blocks, n_below

    def _logits(self, rows: Ragged) -> Tensor:
        hidden, mask = padded(rows, 0)
        given: list[Any] = list(self.get_submodule(self.blocks).children())[: self.n_below]
        ids = torch.where(mask, int(self.pad == 0), self.pad)  # which tokens they are is past
        try:
            for block in given:
                block.hidden = hidden
            return self.model(input_ids=ids, attention_mask=mask.long()).logits
        finally:
            for block in given:
                block.hidden = None


class _ReachedError(Exception):
    """What stops a trunk at its end, with the hidden states."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden


class _End(nn.Module):
    """Stands for the first block above a trunk."""

    def forward(self, hidden: Tensor, *args: object, **kwargs: object) -> Tensor:
        raise _ReachedError(hidden)


class _Given(nn.Module):
    """Stands for a block of the trunk: gives hidden states that were computed before."""

    hidden: Tensor | None

    def __init__(self, in_a_tuple: bool) -> None:
        super().__init__()
        self.in_a_tuple, self.hidden = in_a_tuple, None

    def forward(self, *args: object, **kwargs: object) -> Any:
        return (self.hidden,) if self.in_a_tuple else self.hidden


def cut_transformer(
    network: TextTransformer, blocks: str, n_below: int
) -> tuple[TransformerTrunk, TransformerTop] | None:
    """A transformer as a trunk of its lowest blocks and the rest, which share its tensors.

    ``blocks`` names the list of its blocks, of which ``n_below`` belong to the trunk. None where
    both together do not compute the same: a block then takes more than hidden states from below.
    """
    rows = _probe(network)
    tuples: list[bool] = []
    first = next(network.get_submodule(blocks).children())
    watch = first.register_forward_hook(lambda *call: tuples.append(isinstance(call[-1], tuple)))
    was_training = network.training
    try:
        with torch.no_grad():
            whole = network.eval()(rows)
    finally:
        watch.remove()
        network.train(was_training)
    try:
        lower = sharing_copy(network)
        _replace(lower, blocks, {n_below: _End()}, keep=n_below + 1)
        upper = sharing_copy(network)
        _replace(upper, blocks, {i: _Given(tuples[0]) for i in range(n_below)})
        trunk = TransformerTrunk(lower.model, network.pad).eval()
        top = TransformerTop(upper.model, network.pad, blocks, n_below).eval()
        with torch.no_grad():
            parts = top(trunk(rows))
    except UNFIT:
        return None
    return (trunk, top) if torch.allclose(whole, parts, TOLERANCE, TOLERANCE) else None


def sharing_copy(network: nn.Module) -> Any:
    """A copy of a network's modules whose parameters and buffers are those of the network."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, shared)


def padded(rows: Ragged, fill: int) -> tuple[Tensor, Tensor]:
    """Values [n, longest, ...] of rows that are filled up, and where they are values, bool."""
    lengths = rows.lengths
    mask = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
    values = rows.values.new_full((*mask.shape, *rows.values.shape[1:]), fill)
    values[mask] = rows.values
    return values, mask


def by_length(compute: Callable[[Ragged], Output], rows: Ragged) -> Output:
    """What ``compute`` gives for all rows, a few of like length at a time."""
    if len(rows) <= ROWS_AT_A_TIME:
        return compute(rows)
    order = rows.lengths.argsort(descending=True, stable=True)
    parts: list[Any] = [compute(rows[some]) for some in order.split(ROWS_AT_A_TIME)]
    together: Any = Ragged.concatenated(parts) if isinstance(parts[0], Ragged) else torch.cat(parts)
    return together[order.argsort()]


def _replace(
    network: nn.Module, blocks: str, others: dict[int, nn.Module], keep: int | None = None
) -> None:
    """Put other modules in the place of some blocks; only the first ``keep`` stay."""
    modules = list(network.get_submodule(blocks).children())[:keep]
    for i, other in others.items():
        plain = {k: v for k, v in vars(modules[i]).items() if not k.startswith("_")}
        vars(other).update({**plain, **vars(other)})  # what a model may ask its blocks for
        modules[i] = other
    network.set_submodule(blocks, nn.ModuleList(modules))


def _probe(network: nn.Module) -> Ragged:
    """Two rows of tokens, of different lengths."""
    device = next(network.parameters()).device
    values = torch.tensor([1, 2, 3, 4, 3, 2, 1, 4], dtype=torch.int32, device=device)
    return Ragged(values, torch.tensor([0, 5, 8], device=device))
