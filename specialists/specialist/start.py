"""From which weights does a specialist start?

From the generalist's: it keeps the outputs of its subset and merges every other class into one
dustbin (Hinton et al. 2015, section 5.3), and where it is wider it still computes the same (see
:func:`specialists.networks.widen`). Or from those of another generalist, which differs by its seed
and has seen as much: the specialist then errs elsewhere than the generalist that it is combined
with, which their combination gains more from. Or afresh, all but its frozen parts: it errs
elsewhere as well, has learned only from its own examples, and may be narrower.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from specialists.config import SpecialistsConfig
from specialists.errors import ConfigError
from specialists.networks import (
    ARCHITECTURES,
    NetworkSpec,
    belongs,
    build,
    load_network,
    merge_bottleneck,
    specialise_head,
    split_frozen,
    widen,
)
from specialists.trunk import Trunk
from specialists.workspace import Workspace


def starting_network(
    workspace: Workspace, trunk: Trunk, subset: Tensor, parent: Path
) -> tuple[nn.Module, NetworkSpec]:
    """The part above the trunk of a specialist of ``subset``, and what describes all of it.

    ``parent`` is the folder of the generalist that it starts from. Draws from PyTorch's global
    generator; seed it before.

    Raises
    ------
    ConfigError
        If frozen parts cannot be shared with the generalist, a specialist that starts from its
        generalist would be narrower, or there is no n-gram table to have a size.
    """
    settings = workspace.config.specialists
    freeze = settings.freeze or ()
    network, spec, _ = load_network(parent)
    specialise_head(network, spec.n_classes, subset)
    if spec.head_rank is not None:
        merge_bottleneck(network)
    changes = {
        "n_outputs": len(subset) + 1,
        "dropout": settings.dropout or 0.0,
        "head_rank": None,
        "n_buckets": _n_buckets(settings, spec),
    }
    spec = dataclasses.replace(spec, **changes)
    make = _afresh if settings.start == "fresh" else _as_generalist
    for width in _widths(workspace, spec):
        started, described = make(network, spec, width, freeze)
        lower, upper = split_frozen(started, freeze)
        if lower is None or trunk.fits(lower):
            break
    else:
        raise ConfigError(
            "a specialist of another width cannot share frozen parts whose own width would change",
            where="specialists.width, specialists.freeze",
            got=f"width {settings.width}, frozen: {', '.join(freeze)}",
            fix="freeze nothing, or leave specialists.width unset",
        )
    for module in upper.modules():
        if isinstance(module, nn.Dropout):
            module.p = spec.dropout
    return upper, described


def _n_buckets(settings: SpecialistsConfig, spec: NetworkSpec) -> int:
    if settings.n_buckets is None:
        return spec.n_buckets
    if spec.model != "hashed_text":
        raise ConfigError(
            "this network has no n-gram table",
            where="specialists.n_buckets",
            got=f"{settings.n_buckets} for {spec.model}",
            fix="leave specialists.n_buckets unset",
        )
    return settings.n_buckets


def _widths(workspace: Workspace, spec: NetworkSpec) -> list[int]:
    """What is tried: the width that is set or, before the generalist's own, a multiple of it."""
    settings = workspace.config.specialists
    if spec.model not in ARCHITECTURES and settings.width is not None:
        raise ConfigError(
            "this network does not come in widths",
            where="specialists.width",
            got=f"{settings.width} for {spec.model}",
            fix="leave specialists.width unset",
        )
    if settings.width is not None:
        return [settings.width]
    if spec.model not in ARCHITECTURES:
        return [spec.width]
    return [max(1, round((settings.widen or 1.0) * spec.width)), spec.width]


def _as_generalist(
    network: nn.Module, spec: NetworkSpec, width: int, freeze: Sequence[str]
) -> tuple[nn.Module, NetworkSpec]:
    return (network, spec) if width == spec.width else widen(network, spec, width)


def _afresh(
    network: nn.Module, spec: NetworkSpec, width: int, freeze: Sequence[str]
) -> tuple[nn.Module, NetworkSpec]:
    """A new network; frozen parts are the generalist's where they have the same shape."""
    spec = dataclasses.replace(spec, width=width)
    fresh = build(spec).to(next(network.parameters()).device)
    old, state = network.state_dict(), fresh.state_dict()
    for name, value in state.items():
        if belongs(name, freeze) and old[name].shape == value.shape:
            state[name] = old[name]
    fresh.load_state_dict(state)
    return fresh, spec
