"""Which layer of a network is its head, and how is it swapped for another?

The head is the last ``nn.Linear`` with as many outputs as there are classes. A specialist's head
starts from the generalist's rows of its classes; its dustbin, which stands for all the others,
from their mean weight and from the log of the summed exponentials of their biases.

A cheap head is two factors, ``head`` over a linear ``bottleneck``. Over the few classes of a
specialist it is not cheaper than their product, into which :func:`merge_bottleneck` turns it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.errors import InputError


def find_head(network: nn.Module, n_classes: int) -> str:
    """Dotted name of the last ``nn.Linear`` with ``n_classes`` outputs.

    Raises an InputError, which lists the linear layers, if there is none.
    """
    linear = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear)}
    heads = [name for name, module in linear.items() if module.out_features == n_classes]
    if heads == [""]:
        raise InputError(
            "this network is nothing but its head, which cannot be swapped",
            got="a bare nn.Linear",
            fix="wrap it: nn.Sequential(nn.Linear(...))",
        )
    if not heads:
        layers = ", ".join(f"{name} ({module.out_features})" for name, module in linear.items())
        raise InputError(
            "this network has no head",
            got=f"linear layers: {layers or 'none'}",
            expected=f"an nn.Linear with {n_classes} outputs, one a class",
        )
    return heads[-1]


def head_and_trunk(network: nn.Module, n_classes: int) -> tuple[nn.Module, nn.Linear]:
    """What computes the features below a network's head, and the head, which share its weights.

    A chain that ends in its head is cut there. Of any other network the trunk is one of the same
    tensors whose head passes on what it is given: it computes the network's features only where
    the head comes last, which :func:`check_head_is_last` looks at.
    """
    name = find_head(network, n_classes)
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear)
    if isinstance(network, nn.Sequential) and list(network)[-1] is head:
        parts = list(network.named_children())[:-1]
        return nn.Sequential(OrderedDict(parts)), head
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, {**shared, id(head): nn.Identity()}), head


def check_head_is_last(network: nn.Module, n_classes: int, inputs: Inputs) -> None:
    """Raise an InputError unless a network's outputs are those of its head, on some inputs."""
    trunk, head = head_and_trunk(network, n_classes)
    device = next(network.parameters()).device
    with torch.no_grad():
        outputs = network.eval()(inputs.to(device))
        try:
            again = head(trunk.eval()(inputs.to(device)))
        except (AttributeError, TypeError, RuntimeError) as error:
            found = f"{type(error).__name__}: {error}"
        else:
            if again.shape == outputs.shape and torch.allclose(again, outputs, 1e-4, 1e-4):
                return
            found = "outputs that are not those of its last nn.Linear with one output a class"
    raise InputError(
        "the features below the head of this network cannot be had",
        where="generalist.factory",
        got=found,
        expected="a network that calls its nn.Linear over the classes last",
        fix="let forward end in self.head(features), and change nothing after it; or set "
        "specialists.kind to clusters",
    )


def swap_head(network: nn.Module, n_classes: int, n_outputs: int) -> nn.Linear:
    """Replace the head, in place, by a fresh one with ``n_outputs``; returns it."""
    name = find_head(network, n_classes)
    old = network.get_submodule(name)
    assert isinstance(old, nn.Linear)
    new = nn.Linear(old.in_features, n_outputs, bias=old.bias is not None)
    new.to(old.weight.device, old.weight.dtype)
    network.set_submodule(name, new)
    return new


def specialise_head(network: nn.Module, n_classes: int, subset: Tensor) -> None:
    """Swap the head, in place, for one over ``subset`` and a dustbin (last), started from it.

    ``subset``, int64 of shape (k,), lists the classes that keep their rows.
    """
    old = network.get_submodule(find_head(network, n_classes))
    assert isinstance(old, nn.Linear)
    rest = torch.ones(n_classes, dtype=torch.bool, device=old.weight.device)
    rest[subset] = False
    new = swap_head(network, n_classes, len(subset) + 1)
    with torch.no_grad():
        new.weight[:-1] = old.weight[subset]
        new.weight[-1] = old.weight[rest].mean(0)
        if old.bias is not None:
            new.bias[:-1] = old.bias[subset]
            new.bias[-1] = old.bias[rest].logsumexp(0)


def merge_bottleneck(network: nn.Module) -> nn.Linear:
    """Replace ``bottleneck`` and ``head``, in place, by one layer that computes the same.

    The network is of a shipped architecture and has a ``head_rank``. Both factors are linear, with
    nothing but dropout between them, so that the product of their weights stands for both. Returns
    that layer.
    """
    bottleneck, head = network.get_submodule("bottleneck"), network.get_submodule("head")
    assert isinstance(bottleneck, nn.Linear)
    assert isinstance(head, nn.Linear)
    weight = head.weight.detach()
    merged = nn.Linear(bottleneck.in_features, head.out_features).to(weight.device, weight.dtype)
    with torch.no_grad():
        merged.weight.copy_((weight.double() @ bottleneck.weight.double()).to(weight.dtype))
        merged.bias.copy_(head.bias)
    network.set_submodule("head", merged)
    del network.bottleneck
    return merged
