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

from specialists.datasets.class_names import class_name
from specialists.errors import InputError, listed
from specialists.networks.foreign import ForeignWeights

CLASSES_KEY = "generalist.classes"
ENTRIES = ("classes", "class_names", "id2label", "class_to_idx", "label2id")
FILES = ("classes.json", "classes.txt", "config.json", "model.json")
MAX_NAMES = 5
_NO_NAME = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class OutputOrder:
    """Which output of a trained network, of ``n_outputs``, stands for which class of the data.

    ``outputs`` is None where both are in the same order; ``note`` tells the user about it.
    """

    outputs: tuple[int, ...] | None
    n_outputs: int
    note: str


def files_beside(path: Path) -> list[Path]:
    """Files beside weights (or in their folder) that may name their outputs."""
    folder = path if path.is_dir() else path.parent
    return [folder / name for name in FILES if (folder / name).is_file()]


def output_order(
    weights: ForeignWeights, given: str | Sequence[str | int] | None, class_names: Sequence[str]
) -> OutputOrder:
    """Match the outputs of ``weights`` with the data's classes, by name where there are names.

    Parameters
    ----------
    given : path or sequence of names, optional
        ``generalist.classes``.
    class_names : sequence of str
        Of the data, in their order.

    Raises
    ------
    InputError
        If a class of the data has no output, or if names repeat or cannot be read.
    """
    names, source = names_of_outputs(weights.path, weights.entries, given)
    if names is not None:
        return _matched(names, source, class_names)
    numbers = [str(i) for i in range(len(class_names))]
    if set(numbers) == set(class_names):
        return _matched(numbers, "the classes are numbers", class_names)
    note = (
        f"its outputs are taken in the data's (sorted) order of classes: {_first(class_names)}; "
        f"{CLASSES_KEY} = [...] or a file names another order"
    )
    return OutputOrder(None, len(class_names), note)


def names_of_outputs(
    path: Path, entries: Mapping[str, object], given: str | Sequence[str | int] | None
) -> tuple[list[str] | None, str]:
    """The names of the outputs in a file, and where they stand; None, "" where nobody names them.

    Parameters
    ----------
    path : Path
        A file beside it may name them.
    entries : mapping
        What else it holds.
    given : path or sequence of names, optional
        ``generalist.classes``, which comes first.

    Raises
    ------
    InputError
        If names repeat or cannot be read.
    """
    names, source = _names(path, entries, given)
    return (_checked(names, source), source) if source else (None, "")


def _names(
    path: Path, entries: Mapping[str, object], given: str | Sequence[str | int] | None
) -> tuple[Sequence[object] | None, str]:
    if isinstance(given, str):
        return _from_file(Path(given)), given
    if given is not None:
        return given, CLASSES_KEY
    for entry, value in _named_entries(entries):
        return value, f"{path}, entry {entry!r}"
    for file in files_beside(path):
        value = _from_file(file)
        if value is not None:
            return value, str(file)
    return None, ""


def _from_file(file: Path) -> list[object] | None:
    """Names of a text file, one a line, or of a JSON file; None where a JSON file has none."""
    if not file.is_file():
        raise InputError("no such file of class names", where=CLASSES_KEY, got=file)
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
            fix=f"{CLASSES_KEY} = [...] or another file comes first",
        ) from None
    if not is_json:
        return list(text.rstrip().split("\n"))
    names = _in_order(content) if file.name not in ("config.json", "model.json") else None
    entries = _named_entries(content) if isinstance(content, dict) else []
    return names if names is not None else entries[0][1] if entries else None


def _named_entries(entries: Mapping[str, object]) -> list[tuple[str, list[object]]]:
    named = [(entry, _in_order(entries[entry])) for entry in ENTRIES if entry in entries]
    return [(entry, value) for entry, value in named if value is not None]


def _in_order(value: object) -> list[object] | None:
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


def _checked(names: Sequence[object] | None, where: str) -> list[str]:
    names = names or ()
    missing = [i for i, name in enumerate(names) if name is None]
    if missing:
        raise InputError(
            "some outputs of the network have no name",
            where=where,
            got=f"none for {_first(missing)}",
            expected=f"a name for each of the numbers 0 to {len(names) - 1}",
        )
    checked = [class_name(name, f"{where}, name {i + 1}") for i, name in enumerate(names)]
    repeated = [name for name, times in Counter(checked).items() if times > 1]
    if len(checked) < 2 or repeated:
        raise InputError(
            "the names of the outputs are not one for each",
            where=where,
            got=f"{_first(repeated)} more than once" if repeated else f"{len(checked)} names",
            expected="every class once, in the order of the outputs",
        )
    return checked


def _matched(named: Sequence[str], source: str, class_names: Sequence[str]) -> OutputOrder:
    output = {name: i for i, name in enumerate(named)}
    without = [name for name in class_names if name not in output]
    unused, n_classes = sorted(set(named) - set(class_names)), len(class_names)
    left_out = f"({len(unused)}): {_first(unused)}"
    if without:
        raise InputError(
            f"the network has no output for {len(without)} of the data's {n_classes} classes",
            where=source,
            got=f"none for {_first(without)}"
            + f"; outputs that are no class {left_out}" * bool(unused),
            fix=f"set {CLASSES_KEY} to the data's names in the order of the outputs, or leave "
            "these classes out (data.exclude_labels)",
        )
    note = f"its outputs are matched with the classes by name ({source})"
    note += f"; left out are those that the data lack {left_out}" * bool(unused)
    return OutputOrder(tuple(output[name] for name in class_names), len(named), note)


def _first(names: Sequence[object]) -> str:
    return listed(map(repr, names), MAX_NAMES)
