"""How does a user's own function bring a data set?

``factory = "package.module:function"`` names a function that returns a
:class:`specialists.datasets.Dataset`; ``options`` are its arguments, and ``seed`` is passed where
it has a parameter of that name. What it returns is checked before anything is trained on it. Rows
that have the same input or, where its splits bring ``groups``, the same group are one unit of
chance.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch

from specialists.datasets.base import Dataset, Ragged, Split
from specialists.datasets.classes import class_name
from specialists.datasets.encoding import check_finite
from specialists.datasets.observations import input_groups, units_of_chance
from specialists.datasets.splits import check_every_class
from specialists.errors import DataError


def load_factory(config: Any, seed: int) -> Dataset:
    """The data set that the function of ``config.factory`` returns.

    Raises
    ------
    DataError
        No such module or function, arguments that it does not take, or a data set that is
        inconsistent.
    """
    function = find_function(config.factory)
    options = dict(config.options)
    if "seed" in inspect.signature(function).parameters:
        options.setdefault("seed", seed)
    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        raise DataError(
            "data.options do not fit the factory",
            where=config.factory,
            got=error,
            expected=f"{config.factory}{inspect.signature(function)}",
        ) from error
    with importable_here():
        dataset = function(**options)
    if not isinstance(dataset, Dataset):
        raise DataError(
            "the factory returned something else",
            where=config.factory,
            got=type(dataset).__name__,
            expected="specialists.datasets.Dataset",
        )
    names = tuple(class_name(name, config.factory) for name in dataset.class_names)
    dataset = replace(dataset, class_names=names)
    check_dataset(dataset)
    return _with_units(dataset)


def find_function(path: str) -> Callable[..., Any]:
    """The function of an import path ``package.module:function``; the current folder counts."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise DataError("not an import path", got=path, expected="package.module:function")
    with importable_here():
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and not module.startswith(error.name):
                raise
            fix = _how_to_find(module.partition(".")[0])
            raise DataError("no such module", where=path, got=error, fix=fix) from error
    function = getattr(found, name, None)
    if not callable(function):
        raise DataError(f"no function {name!r} in {module}", where=path)
    return function


def _how_to_find(package: str) -> str | None:
    """What helps if a folder here is hidden: a package anywhere comes before a plain folder."""
    file = getattr(sys.modules.get(package), "__file__", None)
    if not file or not Path(package).is_dir() or Path(package, "__init__.py").exists():
        return None
    return f"{package} is {file} here: put an empty __init__.py into your folder {package}"


def source_file(path: str) -> Path | None:
    """The file of the module that an import path names; None if it has none or is not there.

    Nothing is imported, no parent package either, so that a name that a stranger's folder holds
    may be looked up.
    """
    found: ModuleSpec | None = None
    parts = path.partition(":")[0].split(".")
    with importable_here():
        importlib.invalidate_caches()
        for depth in range(1, len(parts) + 1):
            places = None if found is None else found.submodule_search_locations
            if depth > 1 and places is None:
                return None
            found = _find_module(".".join(parts[:depth]), places)
    file = Path(found.origin) if found is not None and found.origin else None
    return file if file is not None and file.is_file() else None


def _find_module(name: str, places: Sequence[str] | None) -> ModuleSpec | None:
    """A module below the folders of its parent, by the finders that Python would ask."""
    for finder in sys.meta_path:
        with suppress(ImportError, ValueError, AttributeError):
            found = finder.find_spec(name, places)
            if found is not None:
                return found
    return None


def check_dataset(dataset: Dataset) -> None:
    """Raise a DataError where the parts of a data set do not fit together."""
    names = dataset.class_names
    if len(names) < 2 or len(set(names)) < len(names):
        twice = [name for name, n in Counter(names).items() if n > 1]
        raise DataError("class names must be two or more, each once", got=(twice or names)[:8])
    for name, split in dataset.splits.items():
        _check_split(split, dataset, name)
    check_every_class(names, dataset.train.labels.numpy(), dataset.validation.labels.numpy())


def _with_units(dataset: Dataset) -> Dataset:
    """The data set with units of chance, unique over its splits."""
    splits = dataset.splits
    given = [split.groups for split in splits.values() if split.groups is not None]
    if 0 < len(given) < len(splits):
        lacking = [name for name, split in splits.items() if split.groups is None]
        raise DataError("some splits have groups and some have none", where=", ".join(lacking))
    inputs = input_groups(*(split.inputs for split in splits.values()))
    declared = torch.cat(given).numpy() if given else None
    units, notes = units_of_chance(inputs, declared, "a group")
    parts = torch.from_numpy(units).split([len(split) for split in splits.values()])
    grouped = {
        name: replace(split, groups=part)
        for (name, split), part in zip(splits.items(), parts, strict=True)
    }
    return replace(dataset, **grouped, notes=(*dataset.notes, *notes))


def _check_split(split: Split, dataset: Dataset, name: str) -> None:
    n, labels = len(split), split.labels
    others = {"texts": split.texts, "rows": split.rows, "groups": split.groups}
    lengths = {"inputs": len(split.inputs)}
    lengths |= {what: len(values) for what, values in others.items() if values is not None}
    if not n or set(lengths.values()) != {n}:
        raise DataError(
            "a split needs as many inputs (and texts, rows, groups) as labels, and at least one",
            where=name,
            got=f"{n} labels, {', '.join(f'{k} {what}' for what, k in lengths.items())}",
        )
    if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= dataset.n_classes:
        raise DataError(
            "labels are not class indices",
            where=name,
            got=f"{labels.dtype} from {labels.min()} to {labels.max()}",
            expected=f"int64 from 0 to {dataset.n_classes - 1}",
        )
    wanted = {"text": torch.int32, "features": torch.float32, "images": torch.uint8}
    values = split.inputs.values if isinstance(split.inputs, Ragged) else split.inputs
    ragged = dataset.kind == "text"
    if wanted.get(dataset.kind) != values.dtype or ragged != isinstance(split.inputs, Ragged):
        raise DataError(
            "inputs do not fit the kind",
            where=name,
            got=f"{type(split.inputs).__name__} of {values.dtype}",
            expected=f"for {dataset.kind}: {wanted.get(dataset.kind)}",
        )
    if dataset.kind == "features":
        check_finite(values.numpy(), where=name)
    _check_valid(split, dataset.n_classes, name)


def _check_valid(split: Split, n_classes: int, name: str) -> None:
    if split.valid is None:
        return
    rows = torch.repeat_interleave(torch.arange(len(split.valid)), split.valid.lengths)
    fits = len(split.valid) == len(split)
    if fits:
        held = torch.zeros(len(split), dtype=torch.bool)
        held[rows[split.valid.values == split.labels[rows]]] = True
        fits = bool(held.all()) and bool((split.valid.values < n_classes).all())
    if not fits:
        raise DataError("a set of valid labels does not hold the label", where=name)


@contextmanager
def importable_here() -> Iterator[None]:
    """While the block runs, modules of the current folder can be imported, before all others."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
