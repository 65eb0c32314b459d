"""From which weights does a specialist start?

From the generalist's: it keeps the outputs of its subset and merges every other class into one
dustbin (Hinton et al. 2015, section 5.3), and where it is wider it still computes the same (see
:func:`specialists.networks.widen`). Or from those of another generalist, which differs by its seed
and has seen as much: the specialist then errs elsewhere than the generalist that it is combined
with, which their combination gains more from. Or afresh, all but its frozen parts: it errs
elsewhere as well, has learned only from its own examples, and may be narrower.

Where there are several generalists, specialists that share classes start from different ones, so
that their errors on a class are independent.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from specialists.config import SpecialistsConfig
from specialists.datasets.base import Inputs
from specialists.errors import ConfigError, InputError
from specialists.networks import (
    ARCHITECTURES,
    Adapters,
    NetworkSpec,
    adapted,
    belongs,
    build_for,
    cut_below,
    frozen_table,
    merge_bottleneck,
    own_spec,
    specialise_head,
    split_frozen,
    widen,
    without_shared,
)
from specialists.probability import check_subset
from specialists.trunk import same_weights


def assign_generalists(subsets: Sequence[Sequence[int]], n: int) -> list[int]:
    """One of ``n`` generalists for each specialist, 0 to n - 1, so that few classes clash.

    One after the other takes the first of those whose specialists share the fewest classes with it.
    Subsets that are ``n`` partitions of the classes, one after another, as clusters with a coverage
    of ``n`` are, have no clash: each partition has a generalist of its own.
    """
    shared = np.zeros((n, 1 + max(max(subset) for subset in subsets)), dtype=np.int64)
    assigned = []
    for members in map(list, subsets):
        chosen = int(shared[:, members].sum(axis=1).argmin())
        shared[chosen, members] += 1
        assigned.append(chosen)
    return assigned


def specialise(
    generalist: nn.Module, n_classes: int, subset: Tensor, shared: nn.Module | None = None
) -> nn.Module:
    """A copy of a generalist whose head is over ``subset`` and a dustbin, which stands last.

    The head of ``generalist`` is its last ``nn.Linear`` with ``n_classes`` outputs; ``subset`` is
    int64 of shape (k,). Tensors of ``shared``, a frozen part of the generalist, are not copied.

    Raises
    ------
    InputError
        If it has no such head, or the subset is no list of some, not all, distinct classes.
    """
    check_subset(subset, n_classes)
    if not 0 < len(subset) < n_classes:
        raise InputError(
            "a specialist has some of the classes, and a dustbin for the others",
            got=f"{len(subset)} of {n_classes} classes",
            expected=f"1 to {n_classes - 1}",
        )
    parts = [] if shared is None else [*shared.parameters(), *shared.buffers()]
    network = copy.deepcopy(generalist, {id(part): part for part in parts})
    specialise_head(network, n_classes, subset)
    return network


def starting_network(
    generalist: nn.Module | None,
    spec: NetworkSpec,
    subset: Tensor,
    settings: SpecialistsConfig,
    shared: nn.Module | None = None,
    inputs: Inputs | None = None,
) -> tuple[nn.Module, NetworkSpec]:
    """The trained part of a specialist of ``subset``, and what describes all of it.

    Draws from PyTorch's global generator; seed it before.

    Parameters
    ----------
    generalist, spec : nn.Module, NetworkSpec
        The one that it starts from, whole, and what describes it; both stay as they are. A fresh
        one of which nothing is frozen needs no weights: None.
    subset : int64 Tensor of shape (k,)
    settings : SpecialistsConfig
        How it starts, its width, and what is frozen; or the factory that builds it.
    shared : nn.Module, optional
        The frozen part that all specialists share.
    inputs : Tensor or Ragged, optional
        What it is trained on: the rows of a fresh n-gram table that none of it reads are zero.

    Raises
    ------
    ConfigError
        If frozen parts cannot be shared with the generalist, a specialist that starts from its
        generalist would be narrower, or there is no n-gram table to have a size.
    """
    freeze = settings.freeze or ()
    check_subset(subset, spec.n_classes)
    if settings.adapter is not None:
        return _adapted_network(generalist, spec, subset, settings)
    own = own_spec(settings, len(subset) + 1, spec.input_shape)
    if own is not None:
        return build_for(own, inputs), own
    network = None
    if generalist is not None:
        network = specialise(generalist, spec.n_classes, subset, shared)
    if network is not None and spec.head_rank is not None:
        merge_bottleneck(network)
    changes = {
        "n_outputs": len(subset) + 1,
        "dropout": settings.dropout or 0.0,
        "head_rank": None,
        "n_buckets": check_buckets(settings, spec),
    }
    spec = dataclasses.replace(spec, **changes)
    for width in _widths(settings, spec):
        if network is None or settings.start == "fresh":
            started, described = _afresh(network, spec, width, freeze, inputs)
        elif width == spec.width:
            started, described = network, spec
        else:
            started, described = widen(network, spec, width)
        lower, upper = split_frozen(started, freeze)
        if lower is None or (shared is not None and same_weights(shared, lower)):
            break
    else:
        raise ConfigError(
            "a specialist of another width cannot share frozen parts whose own width would change",
            where="specialists.width, specialists.freeze",
            got=f"width {settings.width}, frozen: {', '.join(freeze)}",
            fix="freeze nothing, or leave specialists.width unset",
        )
    dropouts = [module for module in upper.modules() if isinstance(module, nn.Dropout)]
    for module in dropouts if settings.dropout is not None else ():
        module.p = spec.dropout
    return upper, described


def _adapted_network(
    generalist: nn.Module | None, spec: NetworkSpec, subset: Tensor, settings: SpecialistsConfig
) -> tuple[nn.Module, NetworkSpec]:
    """Adapters and a head on the part of a generalist above the trunk, which stays as it is."""
    assert generalist is not None
    adapters = Adapters.of(generalist, spec.n_classes, settings)
    assert adapters is not None
    _, upper = cut_below(generalist, adapters)
    network = adapted(upper, spec.n_classes, subset, adapters)
    return network, dataclasses.replace(spec, n_outputs=len(subset) + 1)


def check_buckets(settings: SpecialistsConfig, spec: NetworkSpec) -> int:
    """Rows of the n-gram table; a ConfigError where they are set and there is no table."""
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


def check_width(settings: SpecialistsConfig, spec: NetworkSpec) -> int | None:
    """The width that is set, or None; a ConfigError where this network does not come in widths."""
    if spec.model not in ARCHITECTURES and settings.width is not None:
        raise ConfigError(
            "this network does not come in widths",
            where="specialists.width",
            got=f"{settings.width} for {spec.model}",
            fix="leave specialists.width unset",
        )
    return settings.width


def _widths(settings: SpecialistsConfig, spec: NetworkSpec) -> list[int]:
    """What is tried: the width that is set or, before the generalist's own, a multiple of it."""
    width = check_width(settings, spec)
    if width is not None:
        return [width]
    if spec.model not in ARCHITECTURES:
        return [spec.width]
    return [max(1, round((settings.widen or 1.0) * spec.width)), spec.width]


def _afresh(
    network: nn.Module | None,
    spec: NetworkSpec,
    width: int,
    freeze: Sequence[str],
    inputs: Inputs | None,
) -> tuple[nn.Module, NetworkSpec]:
    """A new network; frozen parts are the generalist's where they have the same shape."""
    spec = dataclasses.replace(spec, width=width)
    table = None if network is None else frozen_table(network)
    fresh = build_for(spec, inputs, table)
    if network is None:
        return fresh, spec
    old, state = network.state_dict(), fresh.state_dict()
    kept = {name for name in state if belongs(name, freeze)}
    same = {name: old[name] for name in kept if old[name].shape == state[name].shape}
    fresh.load_state_dict(without_shared(same, fresh), strict=False)
    return fresh, spec
