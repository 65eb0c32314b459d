"""What a model predicts: one type for every room, made by networks in batches, kept on disk.

Those of large data sets lie in memory-mapped half-precision shards, and so cost no memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs, rows_between
from specialists.datasets.fetched_rows import block_rows
from specialists.errors import InputError
from specialists.files import finish, read_array, recording
from specialists.networks import outputs_of
from specialists.probability import (
    aggregate,
    check_log_probs,
    check_rows,
    check_subset,
    tempered_log_softmax,
)
from specialists.runtime import Progress, progress
from specialists.shards import Shards, write_rows

BATCH_SIZE = 2048
SHARD_BYTES = 1 << 26
ROWS_AT_A_TIME = 8192

RowIndex = Tensor | slice | list[int]
ALL_ROWS = slice(None)


class Predictions(ABC):
    """What a model predicts for n rows over C classes, however it is held.

    Rooms ask no more than these questions. Each but :meth:`dense` is cheap also where a row is held
    as its k most probable classes and the mass of the others.
    """

    @property
    @abstractmethod
    def n_classes(self) -> int:
        """C."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, rows: RowIndex, /) -> Predictions:
        """Those of some rows, by indices, a mask or a slice."""

    @abstractmethod
    def dense(self) -> Tensor:
        """Log-probabilities of all classes, of shape (n, C)."""

    def most_probable(self, k: int) -> tuple[Tensor, Tensor]:
        """Log-probabilities and classes of the min(k, C) most probable, best first, (n, k) each."""
        log_probs, classes = self.dense().topk(min(k, self.n_classes), dim=1)
        return log_probs, classes

    def predicted(self) -> Tensor:
        """The most probable class of each row, int64 of shape (n,); of equal ones the first."""
        return self.dense().argmax(1)

    def confidence(self) -> Tensor:
        """The largest probability of each row, float64 of shape (n,)."""
        return self.dense().amax(1).double().exp()

    def of_labels(self, labels: Tensor) -> Tensor:
        """Log-probability of each row's label, (n,); ``labels`` is int64 of shape (n,)."""
        return self.dense().gather(1, labels[:, None]).squeeze(1)

    def rank_of(self, labels: Tensor) -> Tensor:
        """How many classes rank before each row's label, (n,); of equal ones the first is first."""
        log_probs, label = self.dense(), labels[:, None]
        value = log_probs.gather(1, label)
        rank = (log_probs > value).sum(1)
        tied = ((log_probs == value).sum(1) > 1).nonzero().squeeze(1)
        before = torch.arange(self.n_classes) < label[tied]
        rank[tied] += ((log_probs[tied] == value[tied]) & before).sum(1)
        return rank

    def of_classes(self, classes: Tensor) -> Tensor:
        """Log-probabilities of k classes, (n, k); ``classes`` is int64 of shape (k,)."""
        return self.dense()[:, classes]

    def of_subset(self, subset: Tensor, rows: RowIndex = ALL_ROWS) -> Tensor:
        """Log-probabilities of k classes and of all others together, of some rows, (n, k + 1)."""
        log_probs = self[rows].dense()
        return aggregate(log_probs.to(torch.promote_types(log_probs.dtype, torch.float32)), subset)


@dataclass(frozen=True)
class DensePredictions(Predictions):
    """Predictions that are held as log-probabilities of all classes.

    Parameters
    ----------
    log_probs : Tensor of shape (n, C)
        Natural logarithms; may be memory-mapped.
    """

    log_probs: Tensor

    @property
    def n_classes(self) -> int:
        return self.log_probs.shape[1]

    def __len__(self) -> int:
        return len(self.log_probs)

    def __getitem__(self, rows: RowIndex, /) -> DensePredictions:
        return DensePredictions(self.log_probs[rows])

    def dense(self) -> Tensor:
        return self.log_probs

    def confidence(self) -> Tensor:
        return self._confidence

    @cached_property
    def _confidence(self) -> Tensor:
        return super().confidence()  # a pass over all classes, for which each rule asks


def as_predictions(predictions: Predictions | Tensor) -> Predictions:
    """Predictions, or a tensor of log-probabilities [n, C]; an InputError if it is neither."""
    if isinstance(predictions, Predictions):
        return predictions
    if not isinstance(predictions, Tensor):
        raise InputError(
            "these are no predictions",
            got=type(predictions).__name__,
            expected="Predictions, as model.predictions(inputs) gives, or log-probabilities [n, C]",
        )
    check_rows(predictions, "log-probabilities")
    for start in range(0, len(predictions), ROWS_AT_A_TIME):
        check_log_probs(predictions[start : start + ROWS_AT_A_TIME], start)
    return DensePredictions(predictions)


def concatenated(parts: Sequence[Predictions]) -> Predictions:
    """The rows of all parts, one part after the other."""
    return DensePredictions(torch.cat([part.dense() for part in parts]))


@dataclass(frozen=True)
class ModelOutputs:
    """What a model said about a split, and what it cost.

    Parameters
    ----------
    name : str
    predictions : Predictions
    parameters : int
    inference_flops : float
        Mean floating-point operations of one prediction.
    training_examples : int
        Examples seen in training, repetitions included.
    training_flops : float
        Floating-point operations of all trainings that made it.
    tuning_trials : int
        Candidates among which validation data chose it.
    trainings : tuple of str
        Folders of these trainings, below the run's.
    """

    name: str
    predictions: Predictions
    parameters: int
    inference_flops: float
    training_examples: int
    training_flops: float
    tuning_trials: int = 1
    trainings: tuple[str, ...] = ()


def predict_outputs(
    network: nn.Module,
    inputs: Inputs,
    *,
    batch_size: int = BATCH_SIZE,
    description: str | None = None,
) -> Tensor:
    """The network's outputs for every row, float32 (n, n_outputs) on the CPU, in evaluation mode.

    Parameters
    ----------
    network : nn.Module
    inputs : Tensor, Ragged, NamedTensors or FetchedRows of n rows
    description : str, optional
        Shows a progress bar under this name.
    """
    if len(inputs) == 0:
        raise ValueError("no rows to predict")
    network.eval()
    device = getattr(next(network.parameters(), None), "device", "cpu")
    n, outputs = len(inputs), torch.empty(0)
    batch_size = block_rows(inputs, batch_size)
    bars = progress(description, n) if description else nullcontext(Progress())
    with torch.no_grad(), bars as bar:
        for start in range(0, n, batch_size):
            rows = slice(start, min(start + batch_size, n))
            out = outputs_of(network, rows_between(inputs, start, rows.stop).to(device)).float()
            bar.advance(len(out))
            if len(out) == n:
                return out.cpu().contiguous()
            if start == 0:
                outputs = torch.empty((n, *out.shape[1:]))
            outputs[rows] = out
    return outputs


def network_predictions(
    network: nn.Module, inputs: Inputs, temperature: float = 1.0, description: str | None = None
) -> Predictions:
    """Softmax(z / T) of the outputs z of every row."""
    logits = predict_outputs(network, inputs, description=description)
    return DensePredictions(tempered_log_softmax(logits, temperature))


class StoredPredictions(Predictions):
    """Predictions in half-precision shards on disk; some rows of them are float16."""

    def __init__(self, folder: Path) -> None:
        self._shards = Shards(folder)

    @property
    def n_classes(self) -> int:
        return self._shards.n_columns

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, rows: RowIndex, /) -> DensePredictions:
        return DensePredictions(self._shards.read(self._index(rows)))

    def dense(self) -> Tensor:
        return self[ALL_ROWS].log_probs

    def of_subset(self, subset: Tensor, rows: RowIndex = ALL_ROWS) -> Tensor:
        check_subset(subset, self.n_classes)
        return self._shards.with_rest(self._index(rows), subset)

    def _index(self, rows: RowIndex) -> Tensor:
        index = rows if isinstance(rows, Tensor) else torch.arange(len(self))[rows]
        return index.nonzero().squeeze(1) if index.dtype == torch.bool else index


@dataclass(frozen=True)
class SelectedPredictions(Predictions):
    """Some rows of predictions on disk, read when they are asked for.

    Parameters
    ----------
    predictions : Predictions
    index : int64 Tensor of shape (n,)
    """

    predictions: Predictions
    index: Tensor

    @property
    def n_classes(self) -> int:
        return self.predictions.n_classes

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: RowIndex, /) -> Predictions:
        return self.predictions[self.index[rows]]

    def dense(self) -> Tensor:
        return self[ALL_ROWS].dense()

    def of_subset(self, subset: Tensor, rows: RowIndex = ALL_ROWS) -> Tensor:
        return self.predictions.of_subset(subset, self.index[rows])


def write_shards(
    folder: Path, blocks: Iterable[Predictions], n_columns: int, key: dict[str, object]
) -> None:
    """Write blocks of rows as float16 shards, then what is known of them, then the manifest."""
    with recording(folder):
        rows = (block.dense() for block in blocks)
        write_rows(folder, rows, n_columns, max(1, SHARD_BYTES // (2 * n_columns)))
        finish(folder, key)


def read_rows(path: Path) -> Tensor:
    """An array on disk as a memory-mapped tensor; writing to it never reaches the file."""
    return torch.from_numpy(read_array(path, writable=True))
