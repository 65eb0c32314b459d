"""Datasets of PyTorch and of Hugging Face: how are some of their items read, by number?

An item is a pair (input, label), or a mapping with a key for each. Items are asked for a batch at a
time where the dataset can do that; tensors that it holds are indexed without a loop over rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils import data

from specialists.datasets.splits import LEFT_OUT, SPLIT_NAMES, TRAIN
from specialists.errors import DataError, listed

LABELS = ("label", "labels", "y", "target", "targets")
INPUTS = ("text", "sentence", "image", "img", "pixel_values", "features", "x", "input", "inputs")
ITEMS = "(input, label), or a mapping with a key for each"

UNPACKED = "a DataLoader: its dataset is read; its batch size, sampler and collate_fn are not used"

Key = int | str


def is_dataset(given: Any) -> bool:
    """Whether this is a Dataset or DataLoader of PyTorch, or a Dataset of Hugging Face."""
    return isinstance(given, data.Dataset | data.DataLoader) or _of_hugging_face(given)


def datasets_of(given: Any, where: object = None) -> tuple[list[tuple[Any, int]], list[str]]:
    """The map-style datasets in what a program hands over, each with its part; notes.

    ``given`` is a dataset, a DataLoader, or a mapping of the names of splits to such.

    Raises DataError: it is another thing, can only be iterated over, or names another split.
    """
    notes: list[str] = []
    if not isinstance(given, Mapping):
        return [(_map_style(given, where, notes), TRAIN)], notes
    parts = {name: SPLIT_NAMES.get(str(name).casefold(), LEFT_OUT) for name in given}
    if LEFT_OUT in parts.values() or TRAIN not in parts.values():
        what = "splits of another name" if LEFT_OUT in parts.values() else "no split to train on"
        expected = "train, and perhaps validation and test"
        raise DataError(what, where=where, got=listed(map(str, given)), expected=expected)
    found = [(_map_style(given[name], where, notes), part) for name, part in parts.items()]
    return found, list(dict.fromkeys(notes))


def _map_style(given: Any, where: object, notes: list[str]) -> Any:
    if isinstance(given, data.DataLoader):
        notes.append(UNPACKED)
        given = given.dataset
    name = f"{type(given).__module__.partition('.')[0]}.{type(given).__name__}"
    if not is_dataset(given):
        expected = "a Dataset of PyTorch or Hugging Face, or one of specialists.datasets"
        raise DataError("this is no dataset", where=where, got=name, expected=expected)
    by_number = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    if isinstance(given, data.IterableDataset) or not by_number:
        raise DataError(
            "this dataset can only be iterated over",
            where=where,
            got=name,
            expected="a map-style dataset, with __len__ and __getitem__: rows are read by their "
            "number, several times and in several orders",
            fix="of Hugging Face: load it without streaming=True; of your own: write the rows to "
            'x.npy and y.npy, data.arrays = {x = "x.npy", y = "y.npy"}, or list(dataset) if they '
            "fit in memory",
        )
    if not len(given):
        raise DataError("a dataset without rows", where=where, got=name)
    return given


def _of_hugging_face(given: Any) -> bool:
    module = type(given).__module__.partition(".")[0]
    return module == "datasets" and hasattr(given, "column_names")


@dataclass(frozen=True)
class Items:
    """The inputs and labels of a map-style dataset.

    Parameters
    ----------
    dataset : Dataset
    input, label : int or str
        Their places in an item, or their keys; ``label`` is None where there is none.
    whole : bool
        Whether an item is the input itself.
    """

    dataset: Any
    input: Key
    label: Key | None = None
    whole: bool = False

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, numbers: np.ndarray) -> tuple[Any, Any]:
        """Inputs and labels of some rows, a sequence or tensor each; no labels: None."""
        dataset, index = _without_subsets(self.dataset, numbers)
        if isinstance(dataset, data.TensorDataset):
            rows = torch.from_numpy(index)
            return self._of([tensor[rows] for tensor in dataset.tensors])
        if _of_hugging_face(dataset):
            return self._of(dataset[index.tolist()])
        if hasattr(dataset, "__getitems__"):
            items = dataset.__getitems__(index.tolist())
        else:
            items = [dataset[i] for i in index.tolist()]
        if self.whole:
            return items, None
        label = self.label
        return [item[self.input] for item in items], (
            None if label is None else [item[label] for item in items]
        )

    def _of(self, columns: Any) -> tuple[Any, Any]:
        return columns[self.input], None if self.label is None else columns[self.label]

    def names(self) -> list[str] | None:
        """Of the classes that labels number, if the dataset knows them."""
        dataset, _ = _without_subsets(self.dataset, np.arange(0))
        feature = getattr(dataset, "features", None)
        if isinstance(feature, Mapping) and self.label in feature:
            names = getattr(feature[self.label], "names", None)
        else:
            names = getattr(dataset, "classes", None)
        if isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
            return list(names)
        return None


def items_of(
    dataset: Any,
    x: str | None = None,
    y: str | None = None,
    labelled: bool = True,
    where: object = None,
) -> Items:
    """A dataset with the places of inputs and labels in its items: these keys, or usual ones.

    Raises DataError: the first item is no pair and no mapping, or it is not clear which key is
    which.
    """
    first = dataset[0]
    if isinstance(first, Mapping):
        keys = [str(key) for key in first]
        label = _key(y, LABELS, keys, "y", where) if labelled else None
        others = [key for key in keys if key != label and (labelled or key not in LABELS)]
        usual = others if len(others) == 1 else INPUTS
        return Items(dataset, _key(x, usual, keys, "x", where), label)
    if isinstance(first, tuple | list) and len(first) == 2:
        return Items(dataset, 0, 1 if labelled else None)
    if not labelled and isinstance(first, tuple | list) and len(first) == 1:
        return Items(dataset, 0)
    if labelled or isinstance(first, tuple):
        got = f"{type(first).__name__}{f' of {len(first)}' * isinstance(first, tuple | list)}"
        raise DataError("items of another form", where=where, got=got, expected=ITEMS)
    return Items(dataset, 0, whole=True)


def _key(
    wanted: str | None, usual: Sequence[str], keys: Sequence[str], role: str, where: object
) -> str:
    among = [wanted] if wanted is not None else usual
    found = [key for key in among if key in keys]
    if not found:
        what = f"no {'input' if role == 'x' else 'label'} among the keys of an item"
        fix = f'name it: data.keys = {{{role} = "..."}}'
        if role == "x" and len(keys) > 2:
            fix += "; for several tensors a row, data.tensors or NamedTensors"
        raise DataError(what, where=where, got=listed(keys), expected=listed(among), fix=fix)
    return found[0]


def _without_subsets(dataset: Any, numbers: np.ndarray) -> tuple[Any, np.ndarray]:
    """The dataset that a Subset is of, and the numbers of the rows there."""
    while type(dataset) is data.Subset:
        numbers = np.asarray(dataset.indices, dtype=np.int64)[numbers]
        dataset = dataset.dataset
    return dataset, numbers
