"""Freezing the lower parts of a network, and widening it without changing what it computes."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from specialists.errors import ConfigError
from specialists.networks.blocks import HashedEmbedding
from specialists.networks.build import ARCHITECTURES, NetworkSpec, build


def split_frozen(
    network: nn.Module, freeze: Sequence[str]
) -> tuple[nn.Sequential | None, nn.Module]:
    """Cut a network after its leading frozen parts, and freeze the others that are named.

    A chain (``nn.Sequential``) is cut; any other module stays whole. ``freeze`` holds names of
    parts, or prefixes of parameter names.

    Returns
    -------
    lower : nn.Sequential or None
        The leading parts that hold no trainable parameter, in evaluation mode: their outputs
        can be computed once. None where the first part is trained.
    upper : nn.Module
        The rest. The same modules, not copies.

    Raises
    ------
    ConfigError
        If a name of ``freeze`` is not in the network, or nothing is left to train.
    """
    _freeze(network, freeze)
    if not isinstance(network, nn.Sequential):
        return None, network
    children = list(network.named_children())
    lower = OrderedDict(itertools.takewhile(lambda part: _is_fixed(part[1]), children))
    if not any(True for child in lower.values() for _ in child.parameters()):
        return None, network
    return nn.Sequential(lower).eval(), nn.Sequential(OrderedDict(children[len(lower) :]))


def _is_fixed(module: nn.Module) -> bool:
    """Whether its outputs can be computed once."""
    return not isinstance(module, nn.Dropout) and not any(
        p.requires_grad for p in module.parameters()
    )


def belongs(name: str, parts: Sequence[str]) -> bool:
    """Whether a parameter's dotted name is one of ``parts`` or lies below one."""
    return any(name == part or name.startswith(part + ".") for part in parts)


def _freeze(network: nn.Module, freeze: Sequence[str]) -> None:
    parameters = dict(network.named_parameters())
    for part in freeze:
        if not any(belongs(name, [part]) for name in parameters):
            parts = ", ".join(dict.fromkeys(name.split(".")[0] for name in parameters))
            raise ConfigError(
                "this part of the network cannot be frozen, because it does not exist",
                where="specialists.freeze",
                got=part,
                expected=f"some of {parts}, or longer prefixes of parameter names",
            )
    for name, parameter in parameters.items():
        if belongs(name, freeze):
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in parameters.values()):
        raise ConfigError(
            "every part of the network is frozen",
            where="specialists.freeze",
            got=", ".join(freeze),
            fix="leave at least the head to be trained",
        )


def widen(network: nn.Module, spec: NetworkSpec, width: int) -> tuple[nn.Module, NetworkSpec]:
    """A wider network that computes the same function (Net2Net, Chen et al. 2016, with zeros).

    Units of the old network keep their weights and read nothing from the new ones, which have
    random incoming weights and outgoing weights of zero. A frozen n-gram table is not copied but
    shared. Raises a ConfigError if the architecture does not come in widths, or would become
    narrower.
    """
    if spec.model not in ARCHITECTURES or width < spec.width:
        raise ConfigError(
            "a specialist that starts from a generalist is of a shipped model and not narrower",
            where="specialists.width, specialists.widen",
            got=f"{width} for a {spec.model} of width {spec.width}",
            fix="specialists.start=fresh allows narrower ones",
        )
    wider = dataclasses.replace(spec, width=width)
    result = build(wider, frozen_table(network)).to(next(network.parameters()).device)
    old = network.state_dict()
    state = {key: _embed(old[key], value) for key, value in result.state_dict().items()}
    result.load_state_dict(without_shared(state, result), strict=False)
    return result, wider


def frozen_table(network: nn.Module) -> HashedEmbedding | None:
    """The n-gram table of a network, if it has one that is frozen: others may take it as it is."""
    table = getattr(network, "embedding", None)
    if isinstance(table, HashedEmbedding) and not table.weight.requires_grad:
        return table
    return None


def without_shared(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The tensors of ``state`` that are not the network's own already."""
    own = network.state_dict()
    return {key: value for key, value in state.items() if value.data_ptr() != own[key].data_ptr()}


def _embed(old: Tensor, new: Tensor) -> Tensor:
    """``old`` in the leading corner of ``new``; old units get zeros from new inputs."""
    if old.shape == new.shape:
        return old
    new = new.clone()
    if old.dim() > 1:
        new[: old.shape[0]] = 0
    new[tuple(slice(0, size) for size in old.shape)] = old
    return new


def largest_width(spec: NetworkSpec, fits: Callable[[NetworkSpec], bool], low: int = 1) -> int:
    """The largest width from ``low`` for which ``fits(spec of that width)`` holds.

    Widths are doubled until one does not fit, so that no network far too wide is ever built, and
    then bisected.
    """

    def too_wide(width: int) -> bool:
        return not fits(dataclasses.replace(spec, width=width))

    if too_wide(low):
        return low
    high = 2 * low
    while not too_wide(high):
        low, high = high, 2 * high
    return bisect.bisect_left(range(high), True, lo=low + 1, key=too_wide) - 1
