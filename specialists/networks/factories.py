"""How does a function of the user build a network?"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torch import nn

from specialists.datasets.base import Inputs
from specialists.datasets.factory import find_function, importable_here
from specialists.errors import ConfigError, InputError
from specialists.networks.calls import outputs_of

if TYPE_CHECKING:
    from specialists.networks.build import NetworkSpec


def from_factory(spec: NetworkSpec) -> nn.Module:
    """What ``spec.model``, an import path, returns for ``n_classes`` and the options.

    Raises
    ------
    InputError
        If it cannot be imported or called so, or returns no network.
    """
    if spec.head_rank is not None:
        raise ConfigError(
            "a network of your own has its own head, whose rank cannot be set",
            where="generalist.head_rank",
            got=f"{spec.head_rank} with generalist.factory {spec.model}",
            fix="leave generalist.head_rank unset",
        )
    try:
        function = find_function(spec.model)
    except (InputError, ImportError) as error:
        raise ConfigError(
            "this factory cannot be imported",
            got=f"{spec.model} ({error})",
            expected="package.module:function, on the Python path or in the current folder",
        ) from None
    try:
        arguments = inspect.signature(function).bind(n_classes=spec.n_classes, **spec.options)
    except TypeError as error:
        raise ConfigError(
            "this factory cannot be called with n_classes and the options beside it",
            got=f"n_classes, {', '.join(spec.options) or 'no options'}: {error}",
            expected=f"{spec.model}{inspect.signature(function)}",
        ) from None
    with importable_here():
        network = function(*arguments.args, **arguments.kwargs)
    if not isinstance(network, nn.Module):
        what, got = "a model's factory must return a torch.nn.Module", type(network).__name__
        raise InputError(what, where=spec.model, got=got)
    return network


def check_outputs(network: nn.Module, spec: NetworkSpec, inputs: Inputs) -> None:
    """Raise an InputError unless a factory's network has an output for each class, on some inputs.

    It is asked about two rows, and left in the mode that it was in.
    """
    was_training = network.training
    with torch.no_grad():
        outputs = outputs_of(network.eval(), inputs[torch.arange(min(2, len(inputs)))])
    network.train(was_training)
    wanted = spec.n_classes if spec.n_outputs is None else spec.n_outputs
    if outputs.dim() != 2 or outputs.shape[1] != wanted:
        got = f"{outputs.shape[1]} outputs" if outputs.dim() == 2 else f"{tuple(outputs.shape)}"
        raise InputError(
            "the network of this factory has the wrong number of outputs",
            where=spec.model,
            got=got,
            expected=f"{wanted}, as its argument n_classes says",
            fix="end in a layer such as torch.nn.Linear(features, n_classes)",
        )
