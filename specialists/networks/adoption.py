"""How do weights that another program trained get into a network that was built here?

Names of parameters are matched after what wrappers put before them (``module.`` of DataParallel,
``_orig_mod.`` of torch.compile, ``model.`` of Lightning, or any other) is taken off. Rows of the
head are put in the order of the data's classes. Everything else has to fit exactly.

Whether the network then goes with the data here is a question of its predictions of validation
rows, and of how its inputs were made, where this package wrote that beside the weights.
"""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.errors import DataWarning, InputError
from specialists.networks.foreign import ForeignWeights
from specialists.networks.heads import find_head
from specialists.networks.output_names import OutputOrder
from specialists.networks.resized_heads import class_tensors

WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
COUNTER = "num_batches_tracked"
MAX_LISTED = 20


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

    Returns
    -------
    tuple of str
        What was left out, or chosen among several: a line each.

    Raises
    ------
    InputError
        If names, shapes or types differ (the message names all of them), if several sets of weights
        fit, if the network has no head over ``n_classes``, or if a number is not finite.
    """
    ours = {k: v for k, v in network.state_dict().items() if isinstance(v, Tensor)}
    entry, match, notes = _best_entry(ours, weights)
    tensors = weights.states[entry]
    state = {name: tensors[theirs] for name, theirs in match.names.items()}
    state |= _reordered_head(state, network, order, n_classes, weights.path)
    wrong = [f"missing {name} {tuple(ours[name].shape)}" for name in match.missing]
    wrong += [f"unknown {name} {tuple(tensors[name].shape)}" for name in match.unknown]
    wrong += filter(None, (_unfit(name, value, ours[name]) for name, value in state.items()))
    if wrong:
        more = [f"and {len(wrong) - MAX_LISTED} more"] if len(wrong) > MAX_LISTED else []
        raise InputError(
            "these weights do not fit the generalist",
            where=f"{weights.path}, entry {entry!r}" if entry else weights.path,
            got="\n       ".join([*sorted(wrong)[:MAX_LISTED], *more]),
            fix="set generalist.model or .factory, .width, .depth ... to what they were made with; "
            "where the network knows more classes than the data, generalist.classes names them",
        )
    network.load_state_dict({**network.state_dict(), **state})
    _check_finite(network, weights.path)
    return notes


def _best_entry(
    ours: Mapping[str, Tensor], weights: ForeignWeights
) -> tuple[str, _Match, tuple[str, ...]]:
    """The first set of weights that fits, or the likeliest one."""
    matches = {entry: _matched(ours, state) for entry, state in weights.states.items()}
    fitting = [entry for entry, match in matches.items() if match.complete]
    most = max(matches, key=lambda entry: len(matches[entry].names))
    entry = fitting[0] if fitting else most
    match, notes = matches[entry], []
    if fitting[1:]:
        others = ", ".join(map(repr, fitting[1:]))
        notes.append(f"its entry {entry!r} was taken; {others} would fit as well")
    if match.outside:
        first = ", ".join(match.outside[:5])
        notes.append(f"tensors that are no part of it left out ({len(match.outside)}): {first}")
    return entry, match, tuple(notes)


def _matched(ours: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> _Match:
    """Match names under the prefixes, on either side, that leave fewest of them without a match."""
    names, theirs = _without_wrappers(ours), _without_wrappers(state)
    candidates = [
        _under(names, theirs, prefix, our_prefix, ours)
        for our_prefix in _common_prefixes(names)
        for prefix in _prefixes(list(theirs), list(names)[-1].removeprefix(our_prefix))
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
    names: Mapping[str, str],
    theirs: Mapping[str, str],
    prefix: str,
    our_prefix: str,
    ours: Mapping[str, Tensor],
) -> _Match:
    """The match of names with ``prefix`` in the file and ``our_prefix`` in the network."""
    inside = {k.removeprefix(prefix): full for k, full in theirs.items() if k.startswith(prefix)}
    wanted = {name.removeprefix(our_prefix): full for name, full in names.items()}
    matched = {full: inside[name] for name, full in wanted.items() if name in inside}
    tied = {ours[full].data_ptr() for full in matched}
    missing = [
        full
        for name, full in wanted.items()
        if name not in inside and not name.endswith(COUNTER) and ours[full].data_ptr() not in tied
    ]
    unknown = [full for name, full in inside.items() if name not in wanted]
    outside = [full for k, full in theirs.items() if not k.startswith(prefix)]
    return _Match(matched, missing, unknown, outside, prefix)


def _without_wrappers(names: Iterable[str]) -> dict[str, str]:
    """Names without the parts that compiled and sharded modules put into them."""
    return {".".join(p for p in name.split(".") if p not in WRAPPERS): name for name in names}


def _common_prefixes(names: Iterable[str]) -> list[str]:
    """Dotted beginnings of all names, the empty one first."""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    shared = itertools.takewhile(lambda level: len(set(level)) == 1, levels)
    return list(itertools.accumulate((f"{level[0]}." for level in shared), initial=""))


def _prefixes(names: Sequence[str], last: str) -> list[str]:
    """What all names begin with, and what some begin with where the name ``last`` follows."""
    before = [name.removesuffix(last) for name in names if name.endswith(f".{last}")]
    return list(dict.fromkeys([*_common_prefixes(names), *before]))


def _reordered_head(
    state: Mapping[str, Tensor],
    network: nn.Module,
    order: OutputOrder,
    n_classes: int,
    path: Path,
) -> dict[str, Tensor]:
    """The head's rows in the order of the data's classes; nothing where they are so already."""
    head = find_head(network, n_classes)
    if order.outputs is None or order.outputs == tuple(range(order.n_outputs)):
        return {}
    names = [f"{head}.{name}" for name in class_tensors(network.get_submodule(head))]
    tensors = {name: state[name] for name in names if name in state}
    for value in tensors.values():
        if len(value) != order.n_outputs:
            raise InputError(
                "there is not one name for each output of the network",
                where=path,
                got=f"{order.n_outputs} names, {len(value)} outputs",
                expected=f"{order.n_outputs} outputs, of which the data have {n_classes} classes",
            )
    rows = torch.tensor(order.outputs)
    return {name: value[rows] for name, value in tensors.items()}


def _unfit(name: str, theirs: Tensor, ours: Tensor) -> str | None:
    if theirs.shape != ours.shape:
        return f"{name} is {tuple(theirs.shape)}, not {tuple(ours.shape)}"
    real = theirs.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    dense = theirs.layout == torch.strided and not theirs.is_quantized
    if not dense or ours.is_floating_point() != real or theirs.is_complex():
        return f"{name} is {theirs.dtype}, {theirs.layout}, not {ours.dtype}"
    return None


def _check_finite(network: nn.Module, path: Path) -> None:
    """A buffer may be infinite on purpose, as a mask is, but nothing may be NaN."""
    broken = [name for name, value in network.named_parameters() if not math.isfinite(_span(value))]
    broken += [name for name, value in network.named_buffers() if math.isnan(_span(value))]
    if broken:
        raise InputError(
            "these weights are not finite numbers",
            where=path,
            got=f"NaN or infinite values in {', '.join(broken[:5])}",
            fix="the file is damaged, or its training failed",
        )


def _span(value: Tensor) -> float:
    """The largest magnitude, NaN if there is one, without a copy of the values."""
    if not value.numel() or not value.is_floating_point():
        return 0.0
    return float(torch.stack(value.detach().aminmax()).abs().amax())


TREATMENTS = ("kind", "char_ngrams", "word_ngrams", "lowercase", "channels", "height", "width")


IS_IT_THIS = (
    "Are its classes others or in another order (generalist.classes), were its inputs made another "
    "way (data.standardize, data.image_size, data.lowercase ...), or is this another file "
    "(generalist.weights)?"
)


def warn_if_near_chance(
    top1: float, labels: Tensor, n_classes: int, name: object, why: str = IS_IT_THIS
) -> None:
    """Give a DataWarning where an adopted network is hardly better on validation rows than a guess.

    A guess is right as often as the largest class occurs. A network whose classes are in another
    order is right where the orders agree by chance: up to three such classes are allowed for.
    """
    largest = float(torch.bincount(labels, minlength=n_classes).max()) / len(labels)
    chance = max(largest, min(3 / n_classes, 0.4))
    if top1 <= chance:
        warnings.warn(
            f"{name} is near chance on validation rows: top-1 {top1:.3f}, where a guess has "
            f"{max(largest, 1 / n_classes):.3f}. {why}",
            DataWarning,
            stacklevel=2,
        )


def warn_of_other_inputs(weights: Path, preprocessing: Mapping[str, object]) -> None:
    """Give a DataWarning where this package trained the weights on inputs made another way.

    A ``model.json`` in the folder ``weights``, or beside the file, says how their inputs were made;
    ``preprocessing`` says it of the data here. The warning names what differs.
    """
    about = (weights if weights.is_dir() else weights.parent) / "model.json"
    try:
        theirs = json.loads(about.read_text(encoding="utf-8"))["preprocessing"]
        before, here = _treatment(theirs), _treatment(preprocessing)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # not of this package
    differing = [f"{k} {before[k]}, here {here[k]}" for k in before if before[k] != here[k]]
    if differing:
        warnings.warn(
            f"{weights} was trained on inputs made another way: {'; '.join(differing)}; settings "
            "of [data] make them alike (data.standardize, data.char_ngrams, data.image_size ...)",
            DataWarning,
            stacklevel=2,
        )


def _treatment(preprocessing: Mapping[str, object]) -> dict[str, object]:
    same = {key: preprocessing.get(key) for key in TREATMENTS}
    return {**same, "standardised": preprocessing.get("mean") is not None}
