"""How does a user's own function bring a data set?

``factory = "package.module:function"`` names a function that returns a
:class:`specialists.datasets.Dataset`, or a Dataset of PyTorch or Hugging Face, or one for each
split; ``options`` are its arguments, and ``seed`` is passed where
it has a parameter of that name. What it returns is checked before anything is trained on it. Rows
that have the same input or, where its splits bring ``groups``, the same group are one unit of
chance.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from specialists.config import DataConfig
from specialists.config.effects import READ_BY, is_set
from specialists.datasets.base import Dataset, Inputs, Ragged, Split
from specialists.datasets.class_names import class_name
from specialists.datasets.dataset_objects import is_dataset
from specialists.datasets.encoding import check_finite
from specialists.datasets.fetched_rows import FetchedRows, Origin
from specialists.datasets.handed_over import tensors_of
from specialists.datasets.object_rows import load_objects
from specialists.datasets.observations import input_groups, units_of_chance
from specialists.datasets.splits import check_every_class
from specialists.errors import ConfigError, DataError, listed

_handed_over: ContextVar[Mapping[str, Callable[..., Any]]] = ContextVar("handed_over", default={})  # noqa: B039


def load_factory(config: DataConfig, seed: int) -> Dataset:
    """The data set that the function of ``config.factory`` returns.

    Raises DataError: no such module or function, arguments that it does not take, or a data set
    that is inconsistent.
    """
    path, options = str(config.factory), dict(config.options)
    own = {"seed": seed} if "seed" in inspect.signature(find_function(path)).parameters else {}
    dataset = called(path, {**own, **options})
    if not isinstance(dataset, Dataset):
        origin = {"factory": path, "options": options, "seed": own, "keys": config.keys or {}}
        return _of_objects(dataset, config, seed, origin)
    _refuse_idle(config, path)
    names = tuple(class_name(name, path) for name in dataset.class_names)
    dataset = replace(dataset, class_names=names)
    check_dataset(dataset)
    return _with_units(dataset)


def called(path: str, options: Mapping[str, object]) -> Any:
    """What the function of an import path returns for these arguments.

    Raises DataError: no such module or function, or arguments that it does not take.
    """
    function = find_function(path)
    signature = inspect.signature(function)
    try:
        signature.bind(**options)
    except TypeError as error:
        what, expected = "data.options do not fit the factory", f"{path}{signature}"
        raise DataError(what, where=path, got=error, expected=expected) from error
    with importable_here():
        return function(**options)


def _of_objects(given: Any, config: DataConfig, seed: int, origin: Origin) -> Dataset:
    datasets = given.values() if isinstance(given, Mapping) else [given]
    if not all(map(is_dataset, datasets)):
        what, got = "the factory returned something else", type(given).__name__
        expected = "a Dataset of specialists.datasets, PyTorch or Hugging Face, or {split: Dataset}"
        raise DataError(what, where=origin["factory"], got=got, expected=expected)
    return load_objects(given, config, seed, str(origin["factory"]).rpartition(":")[2], origin)


def _refuse_idle(config: DataConfig, path: str) -> None:
    """Refuse settings for rows that this library splits and encodes."""
    idle = [key for key in sorted(READ_BY["factory"] - {"options"}) if is_set(config, key)]
    if idle:
        what = f"data.{idle[0]} has no effect: the factory returns a data set that is made already"
        raise ConfigError(what, where=path, got=listed(f"data.{key}" for key in idle))


def find_function(path: str) -> Callable[..., Any]:
    """The function of an import path ``package.module:function``; the current folder counts."""
    if path in _handed_over.get():
        return _handed_over.get()[path]
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise DataError("not an import path", got=path, expected="package.module:function")
    with importable_here():
        try:
            namespace = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and not module.startswith(error.name):
                raise
            fix = _how_to_find(module.partition(".")[0])
            raise DataError("no such module", where=path, got=error, fix=fix) from error
    function = getattr(namespace, name, None)
    if not callable(function):
        raise DataError(f"no function {name!r} in {module}", where=path)
    return function


@contextmanager
def handing_over(functions: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Inside, these functions of the program are found by names that no module has."""
    token = _handed_over.set({**_handed_over.get(), **functions})
    try:
        yield
    finally:
        _handed_over.reset(token)


def is_handed_over(path: str) -> bool:
    """Whether a :func:`handing_over` block around the caller knows this name."""
    return path in _handed_over.get()


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
    spec: ModuleSpec | None = None
    parts = path.partition(":")[0].split(".")
    with importable_here():
        importlib.invalidate_caches()
        for depth in range(1, len(parts) + 1):
            folders = None if spec is None else spec.submodule_search_locations
            if depth > 1 and folders is None:
                return None
            spec = _find_module(".".join(parts[:depth]), folders)
    file = Path(spec.origin) if spec is not None and spec.origin else None
    return file if file is not None and file.is_file() else None


def _find_module(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """A module below the folders of its parent, by the finders that Python would ask."""
    for finder in sys.meta_path:
        with suppress(ImportError, ValueError, AttributeError):
            if (spec := finder.find_spec(name, folders)) is not None:
                return spec
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
    named = zip(splits, parts, strict=True)
    grouped = {name: replace(splits[name], groups=part) for name, part in named}
    return replace(dataset, **grouped, notes=(*dataset.notes, *notes))


def _check_split(split: Split, dataset: Dataset, name: str) -> None:
    labels, inputs, valid = split.labels, split.inputs, split.valid
    others = {"texts": split.texts, "rows": split.rows, "groups": split.groups}
    lengths = {"inputs": len(inputs)}
    lengths |= {what: len(values) for what, values in others.items() if values is not None}
    if not len(split) or set(lengths.values()) != {len(split)}:
        counts = ", ".join(f"{n} {what}" for what, n in lengths.items())
        what = "a split needs as many inputs (and texts, rows, groups) as labels, and at least one"
        raise DataError(what, where=name, got=f"{len(split)} labels, {counts}")
    if labels.dtype != torch.int64 or labels.min() < 0 or labels.max() >= dataset.n_classes:
        got = f"{labels.dtype} from {labels.min()} to {labels.max()}"
        expected = f"int64 from 0 to {dataset.n_classes - 1}"
        raise DataError("labels are not class indices", where=name, got=got, expected=expected)
    _check_inputs(inputs, dataset.kind, name)
    if valid is not None and not _holds_labels(valid, labels, dataset.n_classes):
        raise DataError("a set of valid labels does not hold the label", where=name)


def _check_inputs(inputs: Inputs, kind: str, name: str) -> None:
    if kind == "tensors":
        tensors_of(inputs, where=name)
        return
    dtypes = {"text": torch.int32, "features": torch.float32, "images": torch.uint8}
    ragged, dtype = isinstance(inputs, Ragged), dtypes.get(kind)
    values = inputs.values if isinstance(inputs, Ragged) else inputs
    found = values.dtype if isinstance(values, Tensor | FetchedRows) else None
    if found is None or found != dtype or ragged != (kind == "text"):
        got, expected = f"{type(inputs).__name__} of {found}", f"for {kind}: {dtype}"
        fix = "kind tensors takes any tensors, for a network of your own"
        raise DataError(
            "inputs do not fit the kind", where=name, got=got, expected=expected, fix=fix
        )
    if kind == "features" and isinstance(values, Tensor):
        check_finite(values.numpy(), where=name)


def _holds_labels(valid: Ragged, labels: Tensor, n_classes: int) -> bool:
    if len(valid) != len(labels) or bool((valid.values >= n_classes).any()):
        return False
    rows = torch.repeat_interleave(torch.arange(len(valid)), valid.lengths)
    return len(rows[valid.values == labels[rows]].unique()) == len(labels)


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
