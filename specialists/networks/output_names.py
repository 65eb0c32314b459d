"""Which class does each output of a trained network stand for?

Its order is that of the program that trained it, which the data here need not share. The names come
from the configuration, from the checkpoint (``classes``, ``class_names``, ``id2label``,
``class_to_idx``), or from a file beside the weights (``classes.txt``, ``classes.json``, the
``config.json`` of ``save_pretrained``, the ``model.json`` of this package). They are matched with
the data's as these were named: in Unicode form C, white space made one space.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specialists.datasets.classes import class_name
from specialists.errors import InputError
from specialists.networks.foreign import ForeignWeights

SETTING = "generalist.classes"
ENTRIES = ("classes", "class_names", "id2label", "class_to_idx", "label2id")
FILES = ("classes.json", "classes.txt", "config.json", "model.json")
SHOWN = 5
_NO_NAME = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class OutputOrder:
    """Where the data's classes stand among the outputs of a trained network.

    Parameters
    ----------
    places : tuple of int, or None
        Output of each class of the data; None: in the data's own order.
    n_outputs : int
        Of the trained network.
    note : str
        What is to be told about it.
    """

    places: tuple[int, ...] | None
    n_outputs: int
    note: str


def files_beside(path: Path) -> list[Path]:
    """Files beside weights (or in their folder) that may name their outputs."""
    folder = path if path.is_dir() else path.parent
    return [folder / name for name in FILES if (folder / name).is_file()]


def output_order(
    weights: ForeignWeights,
    given: str | Sequence[str | int] | None,
    class_names: Sequence[str],
) -> OutputOrder:
    """Match the outputs of ``weights`` with the data's classes, by name where there are names.

    Parameters
    ----------
    weights : ForeignWeights
    given : path or sequence of names, optional
        ``generalist.classes``.
    class_names : sequence of str
        Of the data, in their order.

    Raises
    ------
    InputError
        If a class of the data has no output; or names repeat, or cannot be read.
    """
    named, source = _names(weights, given)
    if named is not None:
        return _matched(named, source, class_names)
    numbers = [str(i) for i in range(len(class_names))]
    if set(numbers) == set(class_names):
        return _matched(numbers, "the classes are numbers", class_names)
    listed = _first(class_names)
    note = f"its outputs are taken in the data's (sorted) order of classes: {listed}"
    return OutputOrder(
        None, len(class_names), f"{note}; {SETTING} = [...] or a file names another order"
    )


def _names(
    weights: ForeignWeights, given: str | Sequence[str | int] | None
) -> tuple[list[str] | None, str]:
    """The names of the outputs, and where they were found."""
    if isinstance(given, str):
        return _checked(_of_file(Path(given)), given), given
    if given is not None:
        return _checked(list(given), SETTING), SETTING
    for entry, value in _named_entries(weights.entries):
        where = f"{weights.path}, entry {entry!r}"
        return _checked(value, where), where
    for file in files_beside(weights.path):
        value = _of_file(file)
        if value is not None:
            return _checked(value, file), str(file)
    return None, ""


def _of_file(file: Path) -> list[Any] | None:
    """Names of a text file, one a line, or of a JSON file; None where a JSON file has none."""
    if not file.is_file():
        raise InputError("no such file of class names", where=SETTING, got=file)
    try:
        text = file.read_text(encoding="utf-8-sig")
        is_json = file.suffix.lower() == ".json"
        content = json.loads(text) if is_json else None
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            "the names of classes cannot be read",
            where=file,
            got=str(error)[:200] or type(error).__name__,
            expected="UTF-8, one name a line, or a JSON list",
            fix=f"{SETTING} = [...] or another file comes first",
        ) from None
    if not is_json:
        return text.rstrip().split("\n")
    listed = _listed(content) if file.name not in ("config.json", "model.json") else None
    if listed is not None:
        return listed
    found = _named_entries(content) if isinstance(content, dict) else []
    return found[0][1] if found else None


def _named_entries(entries: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    named = [(entry, _listed(entries[entry])) for entry in ENTRIES if entry in entries]
    return [(entry, value) for entry, value in named if value is not None]


def _listed(value: Any) -> list[Any] | None:
    """Names in the order of their numbers; None for what holds no names."""
    if isinstance(value, Mapping):
        by_name = all(type(number) is int for number in value.values())
        pairs = [(n, k) for k, n in value.items()] if by_name else list(value.items())
        try:
            numbered = {int(number): name for number, name in pairs}
        except (TypeError, ValueError):
            return None
        value = [numbered.get(i) for i in range(len(pairs))]
    if not isinstance(value, list | tuple) or not value:
        return None
    if all(isinstance(name, str) and _NO_NAME.fullmatch(name) for name in value):
        return None  # what save_pretrained writes where nobody named them
    return list(value)


def _checked(names: list[Any] | None, where: object) -> list[str]:
    missing = [i for i, name in enumerate(names or ()) if name is None]
    if missing:
        raise InputError(
            "some outputs of the network have no name",
            where=where,
            got=f"none for {_first(missing)}",
            expected=f"a name for each of the numbers 0 to {len(names or ()) - 1}",
        )
    checked = [class_name(name, f"{where}, name {i + 1}") for i, name in enumerate(names or ())]
    repeated = [name for name, times in Counter(checked).items() if times > 1]
    if len(checked) < 2 or repeated:
        raise InputError(
            "the names of a network's outputs are not one for each",
            where=where,
            got=f"{_first(repeated)} more than once" if repeated else f"{len(checked)} names",
            expected="every class once, in the order of the outputs",
        )
    return checked


def _matched(named: Sequence[str], source: str, class_names: Sequence[str]) -> OutputOrder:
    place = {name: i for i, name in enumerate(named)}
    without = [name for name in class_names if name not in place]
    unused, n_classes = sorted(set(named) - set(class_names)), len(class_names)
    if without:
        raise InputError(
            f"the network has no output for {len(without)} of the data's {n_classes} classes",
            where=source,
            got=f"none for {_first(without)}"
            + (f"; outputs that are no class ({len(unused)}): {_first(unused)}" if unused else ""),
            fix=f"set {SETTING} to the data's names in the order of the outputs, or leave these "
            "classes out (data.exclude_labels)",
        )
    places = tuple(place[name] for name in class_names)
    note = f"its outputs are matched with the classes by name ({source})"
    if unused:
        note += f"; left out are those that the data lack ({len(unused)}): {_first(unused)}"
    return OutputOrder(places, len(named), note)


def _first(names: Sequence[object]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
