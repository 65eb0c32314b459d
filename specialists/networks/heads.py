"""Which layer of a network is its head, and how is it swapped for another?

The head is the last layer with as many outputs as there are classes: an ``nn.Linear``, a
convolution of 1 x 1 pixels, or a module of one's own with ``with_classes`` (see
:mod:`specialists.networks.resized_heads`). A network whose head is another one names it in its
attribute ``head_path``, which ``generalist.head`` sets.

A specialist's head is of the generalist's class. It starts from the generalist's rows of its
classes; its dustbin, which stands for all the others, from their mean weight and from the log of
the summed exponentials of their biases.

A cheap head is two factors, ``head`` over a linear ``bottleneck``. Over the few classes of a
specialist it is not cheaper than their product, into which :func:`merge_bottleneck` turns it.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.errors import InputError
from specialists.networks.calls import outputs_of
from specialists.networks.resized_heads import class_tensors, n_outputs_of, resized

HEAD_PATH = "head_path"


def find_head(network: nn.Module, n_classes: int) -> str:
    """Dotted name of the head: the last layer with ``n_classes`` outputs, or ``head_path``.

    Raises an InputError, which lists the layers that there are, if there is none.
    """
    sizes = {name: n_outputs_of(module) for name, module in network.named_modules()}
    known = {name: n for name, n in sizes.items() if n is not None}
    named = getattr(network, HEAD_PATH, None)
    if named is not None:
        return _named_head(named, sizes, known, n_classes)
    heads = [name for name, n in known.items() if n == n_classes]
    if heads == [""]:
        raise InputError(
            "this network is nothing but its head, which cannot be swapped",
            got="a bare layer",
            fix="wrap it: nn.Sequential(layer)",
        )
    if not heads:
        raise InputError(
            "this network has no head",
            got=f"layers: {_layers(known)}",
            expected=f"an nn.Linear with {n_classes} outputs, one a class, or another layer that "
            "generalist.head names",
        )
    return next(name for name in heads if name and f"{heads[-1]}.".startswith(f"{name}."))


def _named_head(
    named: str, sizes: Mapping[str, int | None], known: Mapping[str, int], n_classes: int
) -> str:
    if named not in sizes or named == "":
        what, got = "the network has no part of this name", named
    elif sizes[named] is None:
        what, got = "this part of the network is no head", f"{named}, whose outputs are unknown"
    elif sizes[named] != n_classes:
        what, got = "this part of the network is no head", f"{named} ({sizes[named]} outputs)"
    else:
        return named
    expected = f"one of {n_classes} outputs, one a class, among {_layers(known)}"
    raise InputError(what, where="generalist.head", got=got, expected=expected)


def _layers(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in sizes.items() if name) or "none"


def head_of(network: nn.Module, n_classes: int) -> nn.Module:
    """The layer that :func:`find_head` names."""
    return network.get_submodule(find_head(network, n_classes))


def head_and_trunk(network: nn.Module, n_classes: int) -> tuple[nn.Module, nn.Linear]:
    """What computes the features below a network's head, and the head, which share its weights.

    A chain that ends in its head is cut there. Of any other network the trunk is one of the same
    tensors whose head passes on what it is given: it computes the network's features only where
    the head comes last, which :func:`check_head_is_last` looks at.

    Raises an InputError where the head is not a plain ``nn.Linear``, of which rows can be taken.
    """
    head = head_of(network, n_classes)
    if type(head) is not nn.Linear:
        raise InputError(
            "shared specialists compute some rows of a head, which only a plain nn.Linear allows",
            got=type(head).__name__,
            fix="set specialists.kind to clusters",
        )
    if isinstance(network, nn.Sequential) and list(network)[-1] is head:
        parts = list(network.named_children())[:-1]
        return nn.Sequential(OrderedDict(parts)), head
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, {**shared, id(head): nn.Identity()}), head


def check_head_is_last(network: nn.Module, n_classes: int, inputs: Inputs) -> None:
    """Raise an InputError unless a network's outputs are those of its head, on some inputs.

    The outputs of a convolution may be averaged over its pixels.
    """
    name, given = find_head(network, n_classes), list[Tensor]()

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        given.append(output)

    handle = network.get_submodule(name).register_forward_hook(keep)
    try:
        device = next(network.parameters()).device
        with torch.no_grad():
            outputs = outputs_of(network.eval(), inputs.to(device))
    finally:
        handle.remove()
    found = _after_head(outputs, given)
    if found is not None:
        raise InputError(
            "this network does not end in its head",
            where="generalist.factory",
            got=f"{found} {name!r}",
            expected="the head's outputs, one a class, as they are: logits",
            fix="let forward end in self.head(features). Losses take logits, so leave a softmax "
            "out; what scales the logits belongs into the head; generalist.head names another",
        )


def _after_head(outputs: Tensor, given: list[Tensor]) -> str | None:
    """What a network makes of its head's outputs; None if nothing."""
    if len(given) != 1:
        return f"a forward that calls {len(given)} times, not once,"
    logits = given[0].flatten(2).mean(2) if given[0].ndim > 2 else given[0]
    changed = {
        "the log-softmax of the outputs of": logits.log_softmax(-1),
        "the softmax of the outputs of": logits.softmax(-1),
    }
    if _close(outputs, logits):
        return None
    names = (what for what, values in changed.items() if _close(outputs, values))
    return next(names, "outputs that are not those of")


def _close(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, 1e-4, 1e-4)


def swap_head(network: nn.Module, n_classes: int, n_outputs: int) -> nn.Module:
    """Replace the head, in place, by a fresh one of its class with ``n_outputs``; returns it.

    Raises an InputError where it cannot be built again.
    """
    name = find_head(network, n_classes)
    new = resized(network.get_submodule(name), n_outputs)
    network.set_submodule(name, new)
    return new


def specialise_head(network: nn.Module, n_classes: int, subset: Tensor) -> None:
    """Swap the head, in place, for one over ``subset`` and a dustbin (last), started from it.

    ``subset``, int64 of shape (k,), lists the classes that keep their rows.
    """
    old = head_of(network, n_classes)
    of_classes, state = class_tensors(old), old.state_dict()
    new = swap_head(network, n_classes, len(subset) + 1)
    rest = torch.ones(n_classes, dtype=torch.bool)
    rest[subset.cpu()] = False
    for name in of_classes:
        rows, others = state[name][subset.to(state[name].device)], state[name][rest]
        state[name] = torch.cat([rows, _merged(name, others)[None]])
    new.load_state_dict(state)


def _merged(name: str, others: Tensor) -> Tensor:
    """The dustbin's row of a tensor, from those of its classes."""
    if name == "bias":
        return others.logsumexp(0)
    return others.mean(0) if others.is_floating_point() else others[0]


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
