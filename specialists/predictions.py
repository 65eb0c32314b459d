"""What a model predicts: one type for every room, made by networks in batches, kept on disk.

Those of large data sets lie in memory-mapped half-precision shards, and so cost no memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs, rows_between
from specialists.errors import InputError
from specialists.files import finish, read_array, read_json, recording, write_array, write_json
from specialists.probability import aggregate, check_log_probs, check_rows, tempered_log_softmax
from specialists.runtime import Progress, progress

BATCH_SIZE = 2048
SHARD_BYTES = 1 << 26
ROWS_AT_A_TIME = 8192

RowIndex = Tensor | slice | list[int]


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

    def of_subset(self, subset: Tensor) -> Tensor:
        """Log-probabilities of k classes and of all others together, (n, k + 1)."""
        log_probs = self.dense()
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
    for rows in torch.arange(len(predictions)).split(ROWS_AT_A_TIME):
        check_log_probs(predictions[rows])
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
    """The network's outputs for every row, float32 on the CPU, in evaluation mode.

    Parameters
    ----------
    network : nn.Module
    inputs : Tensor or Ragged of n rows
    description : str, optional
        Shows a progress bar under this name.

    Returns
    -------
    Tensor of shape (n, n_outputs)
    """
    if len(inputs) == 0:
        raise ValueError("no rows to predict")
    network.eval()
    device = getattr(next(network.parameters(), None), "device", "cpu")
    n, outputs = len(inputs), torch.empty(0)
    bars = progress(description, n) if description else nullcontext(Progress())
    with torch.no_grad(), bars as bar:
        for start in range(0, n, batch_size):
            rows = slice(start, min(start + batch_size, n))
            out = network(rows_between(inputs, rows.start, rows.stop).to(device)).float()
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
        about = read_json(folder / "shards.json")
        self._shards = [read_array(folder / name) for name in about["files"]]
        self._starts = torch.tensor([0, *np.cumsum([len(shard) for shard in self._shards])])
        self._n_classes = about["n_columns"]

    @property
    def n_classes(self) -> int:
        return self._n_classes

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, rows: RowIndex, /) -> DensePredictions:
        index = rows if isinstance(rows, Tensor) else torch.arange(len(self))[rows]
        if index.dtype == torch.bool:
            index = index.nonzero().squeeze(1)
        log_probs = np.empty((len(index), self.n_classes), dtype=np.float16)
        shard = torch.searchsorted(self._starts, index, right=True) - 1
        for number in torch.unique(shard).tolist():
            here = (shard == number).numpy()
            log_probs[here] = self._shards[number][(index[here] - self._starts[number]).numpy()]
        return DensePredictions(torch.from_numpy(log_probs))

    def dense(self) -> Tensor:
        return self[slice(None)].log_probs


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
        return self[slice(None)].dense()


def write_shards(
    folder: Path, blocks: Iterable[Predictions], n_columns: int, key: dict[str, object]
) -> None:
    """Write blocks of rows as float16 shards, then their index, then the manifest."""
    files: list[str] = []
    pending: list[np.ndarray] = []
    limit = max(1, SHARD_BYTES // (2 * n_columns))

    def flush() -> None:
        files.append(f"rows-{len(files):04d}.npy")
        write_array(folder / files[-1], np.concatenate(pending))
        pending.clear()

    with recording(folder):
        for block in blocks:
            pending.append(block.dense().to(torch.float16).numpy())
            if sum(map(len, pending)) >= limit:
                flush()
        if pending:
            flush()
        write_json(folder / "shards.json", {"files": files, "n_columns": n_columns})
        finish(folder, key)


def read_rows(path: Path) -> Tensor:
    """An array on disk as a memory-mapped tensor; writing to it never reaches the file."""
    return torch.from_numpy(read_array(path, writable=True))
