"""Does a network that was trained elsewhere go with the data here?

These checks look at its predictions of validation rows. Where this package wrote beside the weights
how their inputs were made, they compare that too.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.errors import DataWarning, InputError
from specialists.networks.heads import find_head

TREATMENTS = ("kind", "char_ngrams", "word_ngrams", "lowercase", "channels", "height", "width")


def check_outputs_are_the_heads(network: nn.Module, n_classes: int, inputs: Inputs) -> None:
    """Check that what follows the head keeps the order of its rows, which was changed.

    Raises
    ------
    InputError
        If the largest output is not the head's largest output.
    """
    heads: list[Tensor] = []
    head = network.get_submodule(find_head(network, n_classes))

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        heads.append(output)

    handle = head.register_forward_hook(keep)
    try:
        with torch.no_grad():
            outputs = network.eval()(inputs.to(next(network.parameters()).device))
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
    """Give a DataWarning where an adopted network is hardly better on validation rows than a guess.

    A guess is right as often as the largest class occurs. A network whose classes are in another
    order is right where the orders agree by chance: up to three such classes are allowed for.
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
