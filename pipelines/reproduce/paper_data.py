"""The data of an experiment, read once a process, and some of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from specialists.config import Config
from specialists.datasets import Dataset, Split, load_dataset
from specialists.datasets.assembly import take
from specialists.errors import InputError, listed
from specialists.files import sha256

MNIST = (
    "for digits, --set data.arrays=PATH/mnist.npz, with x_train uint8 [60000, 28, 28], "
    "y_train [60000], x_test and y_test"
)
FILES_OF_DATA = ("arrays", "table", "images")
SPLIT_SEED = 0  # one split for all seeds: their models are compared row by row


@dataclass(frozen=True)
class PaperData:
    """Which rows an experiment works with, as plain data that a process can be given.

    Parameters
    ----------
    settings : str
        The configuration, as TOML: its data, and the recipes of models that are not the paper's.
    n_classes : int, optional
        The first so many classes alone.
    """

    settings: str
    n_classes: int | None = None

    @property
    def config(self) -> Config:
        return _read_settings(self.settings)

    @property
    def dataset(self) -> Dataset:
        """Read once a process."""
        return _load(self)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the file that holds the data; "" if they are not one file."""
        source = self.config.data.source[1]
        path = Path(source) if isinstance(source, str) else None
        return _digest(path) if path is not None and path.is_file() else ""

    def spec_shape(self) -> tuple[int, ...]:
        """The shape of one input; an InputError for text."""
        inputs = self.dataset.train.inputs
        if not isinstance(inputs, Tensor):
            raise InputError(
                "the paper's experiments are run on images and feature vectors",
                got=f"{self.dataset.name}, which holds text",
                expected=MNIST,
            )
        return tuple(inputs.shape[1:])

    def check_digits(self) -> None:
        """Raise an InputError unless these are pictures of the ten digits."""
        known = self.dataset.class_names
        if self.dataset.kind == "images" and sorted(known) == list("0123456789"):
            return
        raise InputError(
            "this experiment of the paper is about pictures of the ten digits",
            got=f"{self.dataset.name}: {self.dataset.kind} of {listed(sorted(known), 10)}",
            expected=MNIST,
        )

    def classes(self, names: Sequence[str]) -> tuple[int, ...]:
        """The indices of some classes, by their names; a ValueError for a name of none."""
        return tuple(map(self.dataset.class_names.index, names))


def named_data(settings: Config) -> PaperData:
    """The data of a configuration, found and read, or one message that says what is wrong."""
    key, source = settings.data.source
    if isinstance(source, str) and key in FILES_OF_DATA and not Path(source).exists():
        raise InputError(
            "no such file, and nothing is downloaded",
            where=f"data.{key}",
            got=source,
            expected=MNIST,
            fix="bring the file there, or name the place where it lies",
        )
    data = PaperData(settings.to_toml())
    data.spec_shape()
    return data


def rows_of(split: Split, keep: Tensor) -> Split:
    """The rows of a split where ``keep``, bool (n,), is True."""
    return take(split, keep.nonzero().flatten().numpy())


def without_classes(split: Split, missing: Sequence[int]) -> Split:
    """The rows of a split whose class is none of these."""
    if not missing:
        return split
    return rows_of(split, ~torch.isin(split.labels, torch.tensor(missing)))


@cache
def _read_settings(settings: str) -> Config:
    import tomllib

    return Config.from_dict(tomllib.loads(settings))


@cache
def _digest(path: Path) -> str:
    return sha256(path)


@cache
def _load(data: PaperData) -> Dataset:
    whole = load_dataset(data.config.data, SPLIT_SEED)
    n = data.n_classes
    if n is None or n >= whole.n_classes:
        return whole
    splits = {name: rows_of(split, split.labels < n) for name, split in whole.splits.items()}
    return replace(whole, class_names=whole.class_names[:n], **splits)
