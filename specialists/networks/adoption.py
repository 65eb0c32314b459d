"""How do weights that another program trained get into a network that was built here?

Names of parameters are matched after what wrappers put before them (``module.`` of DataParallel,
``_orig_mod.`` of torch.compile, ``model.`` of Lightning, or any other) is taken off. Rows of the
head are put in the order of the data's classes. Everything else has to fit exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specialists.errors import InputError
from specialists.networks.foreign import ForeignWeights
from specialists.networks.heads import find_head
from specialists.networks.output_names import OutputOrder

WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNTER = "num_batches_tracked"
SHOWN = 20


@dataclass(frozen=True)
class _Match:
    """Names of the network with those of the file, and what is left on either side."""

    names: Mapping[str, str]
    missing: Sequence[str]
    unknown: Sequence[str]
    outside: Sequence[str]
    prefix: str

    @property
    def complete(self) -> bool:
        return not self.missing and not self.unknown


def adopt_weights(
    network: nn.Module, weights: ForeignWeights, order: OutputOrder, n_classes: int
) -> tuple[str, ...]:
    """Copy ``weights`` into ``network``, in its precision, and its head in the data's order.

    Parameters
    ----------
    network : nn.Module
        With a head over ``n_classes``.
    weights : ForeignWeights
    order : OutputOrder
    n_classes : int

    Returns
    -------
    tuple of str
        What was left out or chosen among several, a line each.

    Raises
    ------
    InputError
        If names, shapes or types differ, all of which are named; if several sets of weights fit; or
        if a number is not finite.
    """
    own = {k: v for k, v in network.state_dict().items() if isinstance(v, Tensor)}
    place, match, notes = _chosen(own, weights)
    state = {name: weights.states[place][theirs] for name, theirs in match.names.items()}
    head = f"{find_head(network, n_classes)}."
    selected = _selected(state, head, order, n_classes, weights)
    wrong = [f"missing {name} {tuple(own[name].shape)}" for name in match.missing]
    wrong += [f"unknown {k} {tuple(weights.states[place][k].shape)}" for k in match.unknown]
    wrong += [told for name in selected if (told := _unfit(name, selected[name], own[name]))]
    if wrong:
        more = [f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        raise InputError(
            "these weights do not fit the generalist",
            where=f"{weights.path}, entry {place!r}" if place else weights.path,
            got="\n       ".join([*sorted(wrong)[:SHOWN], *more]),
            fix="set generalist.model or .factory, .width, .depth ... to what they were made with; "
            "where the network knows more classes than the data, generalist.classes names them",
        )
    network.load_state_dict({**network.state_dict(), **selected})
    _check_finite(network, weights)
    return notes


def _chosen(
    own: Mapping[str, Tensor], weights: ForeignWeights
) -> tuple[str, _Match, tuple[str, ...]]:
    """The first set of weights that fits, or the likeliest one."""
    matches = {place: _matched(own, state) for place, state in weights.states.items()}
    fitting = [place for place, match in matches.items() if match.complete]
    most = max(matches, key=lambda place: len(matches[place].names))
    place = fitting[0] if fitting else most
    match = matches[place]
    notes = []
    if fitting[1:]:
        others = ", ".join(map(repr, fitting[1:]))
        notes.append(f"its entry {place!r} was taken; {others} would fit as well")
    if match.outside:
        listed = ", ".join(match.outside[:5])
        notes.append(f"tensors that are no part of it left out ({len(match.outside)}): {listed}")
    return place, match, tuple(notes)


def _matched(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> _Match:
    """Match names under the prefixes, on either side, that leave fewest of them without a match."""
    ours, theirs = _without_wrappers(own), _without_wrappers(state)
    candidates = [
        _under(ours, theirs, prefix, own_prefix, own)
        for own_prefix in _common_prefixes(ours)
        for prefix in _prefixes(theirs, list(ours)[-1].removeprefix(own_prefix))
    ]
    best = min(candidates, key=lambda m: (len(m.missing), len(m.unknown), len(m.outside) > 0))
    rivals = {tuple(m.names.values()): m.prefix for m in candidates if m.complete}
    if best.prefix and len(rivals) > 1:
        raise InputError(
            "several sets of weights in this file fit the network",
            where="generalist.weights",
            got=", ".join(f"those under {prefix!r}" for prefix in rivals.values()),
            fix="save the one that is meant alone: torch.save(network.state_dict(), file)",
        )
    return best


def _under(
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    prefix: str,
    own_prefix: str,
    own: Mapping[str, Tensor],
) -> _Match:
    """The match of names with ``prefix`` in the file and ``own_prefix`` in the network."""
    inside = {k.removeprefix(prefix): full for k, full in theirs.items() if k.startswith(prefix)}
    wanted = {name.removeprefix(own_prefix): full for name, full in ours.items()}
    names = {full: inside[name] for name, full in wanted.items() if name in inside}
    tied = {own[full].data_ptr() for full in names}
    missing = [
        full
        for name, full in wanted.items()
        if name not in inside and not name.endswith(COUNTER) and own[full].data_ptr() not in tied
    ]
    unknown = [full for name, full in inside.items() if name not in wanted]
    outside = [full for k, full in theirs.items() if not k.startswith(prefix)]
    return _Match(names, missing, unknown, outside, prefix)


def _without_wrappers(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts that compiled and sharded modules put into them."""
    return {".".join(p for p in name.split(".") if p not in WRAPPERS): name for name in names}


def _common_prefixes(names: Iterable[str]) -> list[str]:
    """Dotted beginnings of all names, the empty one first."""
    parts = [name.split(".")[:-1] for name in names]
    shared = list(
        itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    )
    return ["".join(f"{level[0]}." for level in shared[:n]) for n in range(len(shared) + 1)]


def _prefixes(names: Iterable[str], last: str) -> list[str]:
    """What all names begin with, and what some begin with where the name ``last`` follows."""
    names = list(names)
    before = [name.removesuffix(last) for name in names if name.endswith(f".{last}")]
    return list(dict.fromkeys([*_common_prefixes(names), *before]))


def _selected(
    state: Mapping[str, Tensor],
    head: str,
    order: OutputOrder,
    n_classes: int,
    weights: ForeignWeights,
) -> dict[str, Tensor]:
    """The state with the head's rows in the order of the data's classes."""
    if order.places is None or order.places == tuple(range(order.n_outputs)):
        return dict(state)
    rows = torch.tensor(order.places)
    selected = dict(state)
    for name in (f"{head}weight", f"{head}bias"):
        if name in state and len(state[name]) != order.n_outputs:
            raise InputError(
                "there is not one name for each output of the network",
                where=weights.path,
                got=f"{order.n_outputs} names, {len(state[name])} outputs",
                expected=f"{order.n_outputs} outputs, of which the data have {n_classes} classes",
            )
        if name in state:
            selected[name] = state[name][rows]
    return selected


def _unfit(name: str, theirs: Tensor, own: Tensor) -> str | None:
    if theirs.shape != own.shape:
        return f"{name} is {tuple(theirs.shape)}, not {tuple(own.shape)}"
    real = theirs.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    dense = theirs.layout == torch.strided and not theirs.is_quantized
    if not dense or own.is_floating_point() != real or theirs.is_complex():
        return f"{name} is {theirs.dtype}, {theirs.layout}, not {own.dtype}"
    return None


def _check_finite(network: nn.Module, weights: ForeignWeights) -> None:
    """A buffer may be infinite on purpose, as a mask is, but nothing may be NaN."""
    broken = [name for name, value in network.named_parameters() if not math.isfinite(_span(value))]
    broken += [name for name, value in network.named_buffers() if math.isnan(_span(value))]
    if broken:
        raise InputError(
            "these weights are not finite numbers",
            where=weights.path,
            got=f"NaN or infinite values in {', '.join(broken[:5])}",
            fix="the file is damaged, or its training failed",
        )


def _span(value: Tensor) -> float:
    """The largest magnitude, NaN if there is one, without a copy of the values."""
    if not value.numel() or not value.is_floating_point():
        return 0.0
    low, high = value.detach().aminmax()
    return float(torch.maximum(low.abs(), high.abs()))
