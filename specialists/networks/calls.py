"""How is a network called, whatever it takes and whatever its outputs are?

Several tensors (:class:`~specialists.datasets.base.NamedTensors`) are its keyword arguments, where
``forward`` takes them. Else it gets a dictionary of them, or the tensor itself if there is one
alone. What it returns may be a tensor, or an object with ``.logits``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from specialists.datasets.base import Inputs, Ragged
from specialists.datasets.named_tensors import NamedTensors
from specialists.errors import InputError


def outputs_of(network: nn.Module, inputs: Inputs) -> Tensor:
    """The outputs of a network for n inputs, a row each.

    Raises an InputError where it returns neither a tensor nor an object with ``.logits``.
    """
    if isinstance(inputs, NamedTensors):
        return _logits(_called(network, inputs.tensors), network)
    return _logits(network(inputs), network)


def _called(network: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
    try:
        inspect.signature(network.forward).bind(**tensors)
    except TypeError:
        values = list(tensors.values())
        return network(values[0] if len(values) == 1 else dict(tensors))
    return network(**tensors)


def _logits(given: Any, network: nn.Module) -> Any:
    logits = given if isinstance(given, Tensor | Ragged) else getattr(given, "logits", None)
    if not isinstance(logits, Tensor | Ragged):  # a transformer's trunk has a vector a token
        raise InputError(
            "the outputs of this network are not understood",
            where=type(network).__name__,
            got=type(given).__name__,
            expected="a tensor of logits, a row an input, or an object that has it as .logits",
        )
    return logits
