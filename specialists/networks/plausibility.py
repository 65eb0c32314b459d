"""Does a network that was trained elsewhere go with the data here?

What it says of validation rows is looked at, and how its inputs were made, where this package wrote
that beside the weights.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.errors import DataWarning, InputError
from specialists.networks.heads import find_head

TREATMENTS = ("kind", "char_ngrams", "word_ngrams", "lowercase", "channels", "height", "width")


def check_outputs_are_the_heads(network: nn.Module, n_classes: int, inputs: Inputs) -> None:
    """See that what comes after the head keeps its order, since its rows were put in another.

    Raises
    ------
    InputError
        If the largest output is not the head's largest output.
    """
    heads: list[Tensor] = []
    head = network.get_submodule(find_head(network, n_classes))

    def keep(module: nn.Module, given: Any, out: Tensor) -> None:
        heads.append(out)

    handle = head.register_forward_hook(keep)
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            outputs = network.eval()(inputs.to(device))
    finally:
        handle.remove()
    if not heads or not torch.equal(outputs.argmax(-1), heads[-1].argmax(-1)):
        raise InputError(
            "the outputs of this network cannot be put in the order of the classes",
            where="generalist.classes",
            got="outputs that are not those of its last nn.Linear with one output a class",
            fix="permute the outputs in generalist.factory, and leave generalist.classes out",
        )


def warn_if_near_chance(top1: float, labels: Tensor, n_classes: int, name: object) -> None:
    """Warn where an adopted network knows hardly more of validation rows than a guess would.

    A guess has the share of the largest class. A network whose classes are in another order is
    right where the orders agree by chance; three such classes are allowed for.

    Warns
    -----
    DataWarning
        With the likely causes.
    """
    largest = float(torch.bincount(labels, minlength=n_classes).max()) / len(labels)
    chance = max(largest, min(3 / n_classes, 0.4))
    if top1 <= chance:
        warnings.warn(
            f"{name} is near chance on validation rows: top-1 {top1:.3f}, where a guess has "
            f"{max(largest, 1 / n_classes):.3f}. Are its classes others or in another order "
            "(generalist.classes), were its inputs made another way (data.standardize, "
            "data.image_size, data.lowercase ...), or is this another file (generalist.weights)?",
            DataWarning,
            stacklevel=2,
        )


def warn_of_other_inputs(weights: Path, preprocessing: Mapping[str, Any]) -> None:
    """Warn where the weights are of this package, and were trained on inputs made another way.

    Parameters
    ----------
    weights : Path
        File or folder; a ``model.json`` beside it tells how its inputs were made.
    preprocessing : mapping
        Of the data here.

    Warns
    -----
    DataWarning
        It names what differs.
    """
    about = (weights if weights.is_dir() else weights.parent) / "model.json"
    try:
        theirs = json.loads(about.read_text(encoding="utf-8"))["preprocessing"]
        before, here = _treatment(theirs), _treatment(preprocessing)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # not of this package
    told = [f"{key} {before[key]}, here {here[key]}" for key in before if before[key] != here[key]]
    if told:
        warnings.warn(
            f"{weights} was trained on inputs made another way: {'; '.join(told)}; settings of "
            "[data] make them alike (data.standardize, data.char_ngrams, data.image_size ...)",
            DataWarning,
            stacklevel=2,
        )


def _treatment(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    same = {key: preprocessing.get(key) for key in TREATMENTS}
    return {**same, "standardised": preprocessing.get("mean") is not None}
