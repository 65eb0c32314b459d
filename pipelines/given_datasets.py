"""A Dataset of PyTorch or Hugging Face handed to an estimator: what is kept, what is read again?

Labels are kept. Inputs are kept where they are texts, or take less than a quarter of the memory;
else the run reads them from the object, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from specialists.config import DataConfig
from specialists.datasets.dataset_objects import datasets_of, is_dataset
from specialists.datasets.in_memory import MEMORY
from specialists.datasets.object_rows import DatasetRows, ReadObjects, read_objects
from specialists.errors import DataError

ROWS = "specialists_in_memory:rows"
KEYS = ("keys", "in_place", "image_size")  # of the settings


@dataclass(frozen=True)
class GivenData:
    """What ``fit`` was given, in place of a dataset its inputs and labels.

    Parameters
    ----------
    x, y : inputs and labels
    validation : (x, y) or (x, y, weights), optional
    functions : mapping
        Gives the datasets that are read again, by the name that stands for them.
    """

    x: Any
    y: Any
    validation: Any
    functions: Mapping[str, Callable[..., Any]]


def opened(x: Any, y: Any, validation: Any, settings: Mapping[str, object] | None) -> GivenData:
    """Inputs and labels of what is a dataset; anything else as it is.

    Raises
    ------
    DataError
        If labels are given beside a dataset, or it can only be iterated over.
    """
    if not is_dataset(x):
        return GivenData(x, y, validation, {})
    if y is not None:
        raise DataError("labels beside a dataset, whose items bring their own", where="y")
    config = _config(settings or {})
    given = [x] if validation is None else [x, _validation_dataset(validation)]
    datasets = [datasets_of(one, "X")[0][0][0] for one in given]
    read: list[ReadObjects] = []
    for dataset in datasets:
        origin = {"factory": ROWS, "options": {}, "seed": {}, "keys": config.keys or {}}
        read.append(read_objects([dataset], config, "X", origin))
        config = config.model_copy(update={"in_place": isinstance(read[0].raw, DatasetRows)})
    named = dict(zip(("train", "validation"), datasets, strict=False))
    functions = {ROWS: lambda: named} if config.in_place else {}
    rest = [(one.raw, one.labels) for one in read[1:]]
    return GivenData(read[0].raw, read[0].labels, rest[0] if rest else None, functions)


def labels_of(x: Any, y: Any) -> Any:
    """``y``, or the labels that the items of a dataset bring."""
    if y is not None or not is_dataset(x):
        return y
    found = datasets_of(x, "X")[0][0][0]
    return read_objects([found], DataConfig(name=MEMORY, in_place=True), "X").labels


def _config(settings: Any) -> DataConfig:
    """The settings of ``data`` that say how items are read."""
    data: dict[str, object] = {"name": MEMORY}
    for key in KEYS:
        value = settings.get(f"data.{key}", settings.get("data", {}).get(key))
        data |= {} if value is None else {key: value}
    return DataConfig.model_validate(data)


def _validation_dataset(given: Any) -> Any:
    if isinstance(given, Sequence) and len(given) == 1:
        given = given[0]
    if not is_dataset(given):
        expected, got = "a dataset, as X is one", type(given).__name__
        raise DataError("validation_data is not understood", got=got, expected=expected)
    return given
