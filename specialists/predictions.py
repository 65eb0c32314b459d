"""Predictions of networks: batched, and those of whole data sets kept on disk.

Log-probabilities of large data sets lie in half-precision shards with a manifest and are read
back memory-mapped, so that soft targets cost no memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.datasets.base import Inputs
from specialists.files import finish, read_array, read_json, recording, write_array, write_json
from specialists.runtime import Progress, progress

BATCH_SIZE = 2048
SHARD_BYTES = 1 << 26


@dataclass(frozen=True)
class ModelOutputs:
    """What a model said about a split, and what it cost.

    Parameters
    ----------
    name : str
    log_probs : float32 array of shape (n, n_classes)
        Natural logarithms; may be memory-mapped.
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
    log_probs: np.ndarray
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
    device = _device_of(network)
    outputs = torch.empty(0)
    bars = progress(description, len(inputs)) if description else nullcontext(Progress())
    with torch.no_grad(), bars as bar:
        for index in torch.arange(len(inputs)).split(batch_size):
            out = network(inputs[index].to(device)).float()
            if index[0] == 0:
                outputs = torch.empty((len(inputs), *out.shape[1:]))
            outputs[index[0] : index[-1] + 1] = out.cpu()
            bar.advance(len(index))
    return outputs


def predict_log_probs(
    network: nn.Module, inputs: Inputs, temperature: float = 1.0, description: str | None = None
) -> Tensor:
    """Log softmax(z / T) of every row, float32 of shape (n, n_classes)."""
    logits = predict_outputs(network, inputs, description=description)
    return F.log_softmax(logits / temperature, dim=-1)


class ShardedRows:
    """Rows of a half-precision matrix in memory-mapped shards on disk.

    ``rows[index]`` gathers rows for an int64 tensor, as a float16 tensor of shape (len(index), C).
    """

    def __init__(self, folder: Path) -> None:
        about = read_json(folder / "shards.json")
        self.shards = [read_array(folder / name) for name in about["files"]]
        self.starts = torch.tensor([0, *np.cumsum([len(shard) for shard in self.shards])])
        self.shape = (int(self.starts[-1]), about["n_columns"])

    def __len__(self) -> int:
        return self.shape[0]

    def is_floating_point(self) -> bool:
        return True

    def __getitem__(self, index: Tensor) -> Tensor:
        rows = np.empty((len(index), self.shape[1]), dtype=np.float16)
        shard = torch.searchsorted(self.starts, index, right=True) - 1
        for number in torch.unique(shard).tolist():
            here = (shard == number).numpy()
            rows[here] = self.shards[number][(index[here] - self.starts[number]).numpy()]
        return torch.from_numpy(rows)


def write_shards(
    folder: Path, blocks: Iterable[Tensor], n_columns: int, key: dict[str, object]
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
            pending.append(block.to(torch.float16).numpy())
            if sum(map(len, pending)) >= limit:
                flush()
        if pending:
            flush()
        write_json(folder / "shards.json", {"files": files, "n_columns": n_columns})
        finish(folder, key)


def read_rows(path: Path) -> Tensor:
    """An array on disk as a memory-mapped tensor; writing to it never reaches the file."""
    return torch.from_numpy(read_array(path, writable=True))


def _device_of(network: nn.Module) -> torch.device:
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
