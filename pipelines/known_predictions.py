"""Predictions for a notebook on class clusters: a run's, those of a file, or those in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specialists.clustering.checks import named
from specialists.clustering.co_predictions import CoPredictions, streamed
from specialists.clustering.given_values import column_order
from specialists.covariance import PredictionCovariance, PredictionSketch
from specialists.covariance.streaming import host_array, predictions_shape
from specialists.datasets.storage import load_dataset_folder
from specialists.errors import InputError
from specialists.files import read_array, read_json
from specialists.files.reading import read_text_file
from specialists.probability import tempered_log_softmax

from .runs import how_to_have_a_run

FEW = 5  # rows a class, below which what is found is noisy
SUM_ERROR = 1e-3  # of the probabilities of a row
EXPECTED = (
    "an array of shape (n, C) or (C, C), an .npy file of one, an .npz file with the array probs, "
    "or the folder of a run"
)


@dataclass(frozen=True)
class KnownPredictions:
    """What is known of how a model predicts: probabilities of rows, or only which classes it mixes.

    Parameters
    ----------
    class_names : tuple of str
        Names of the C classes.
    probs : array of shape (n, C), optional
        Predicted probabilities of rows that the model has not seen.
    matrix : array of shape (C, C), optional
        Without ``probs``: the mean of p p^T over rows, or the covariance.
    labels : int array of shape (n,), optional
        The true classes.
    examples : sequence of n values, optional
        What the rows are: texts, or images.
    """

    class_names: tuple[str, ...]
    probs: np.ndarray | None = None
    matrix: np.ndarray | None = None
    labels: np.ndarray | None = None
    examples: Sequence[Any] | None = None

    @cached_property
    def covariance(self) -> PredictionCovariance | PredictionSketch | np.ndarray:
        """Of all rows, as ``cluster_classes`` takes it."""
        if self.probs is None:
            assert self.matrix is not None
            return self.matrix
        return streamed(self.probs, len(self.class_names))

    def halves(self, seed: int = 0, swapped: bool = False) -> tuple[Any, Any]:
        """What to find clusters by, and other rows to judge them on; or the other way round.

        The first is a covariance, the second are probabilities, or co-predictions where no rows
        are known: then they are the same.
        """
        if self.probs is None:
            return self.covariance, CoPredictions.from_source(self.covariance)
        order = np.random.default_rng(seed).permutation(len(self.probs))
        first, second = (self.probs[order[part::2]] for part in (swapped, not swapped))
        return streamed(first, len(self.class_names)), second

    def in_words(self) -> str:
        """How much is known, and whether that is much."""
        n_classes = len(self.class_names)
        if self.probs is None:
            return f"co-predictions of {n_classes:,} classes; there are no rows to judge by"
        n, sure = len(self.probs), float(self.probs.max(axis=1).mean())
        told = f"{n:,} predictions of {n_classes:,} classes; mean top probability {sure:.2f}"
        few = "fewer than five rows a class: what follows is noisy"
        return f"{told}; {few}" if n < FEW * n_classes else told


def read_predictions(source: Any, class_names: Any = None) -> KnownPredictions:
    """What a run predicted for its validation rows, or what a file or an array holds.

    Parameters
    ----------
    source : path, array, Tensor or DataFrame
        The folder of a run; ``.npz`` with ``probs`` of shape (n, C) and, if there are any,
        ``class_names``, ``labels`` and ``examples``; ``.npy``, or an array in memory, with
        probabilities of shape (n, C), or with co-predictions of shape (C, C): the mean of p p^T
        over rows, or the covariance. Columns of a DataFrame name the classes.
    class_names : sequence of str, or path, optional
        Names of the classes, or a text file with one a line. None: those of the run or the file,
        else numbers. Those of a DataFrame's columns may stand in another order.

    Raises
    ------
    InputError
        There is nothing of this kind, or the names are not as many as the classes.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            return _of_a_run(path)
        if path.suffix not in (".npz", ".npy") or not path.is_file():
            raise InputError("no predictions here", where=path, expected=EXPECTED)
        arrays = _arrays(path)
    else:
        arrays = {"probs": host_array(source)}
        if hasattr(source, "columns"):
            arrays["class_names"] = np.array([str(name) for name in source.columns])
    given: Any = arrays["probs"]
    names: Any = arrays.get("class_names") if class_names is None else _read_names(class_names)
    order = None if names is None else column_order(source, names)
    if given.ndim == 2 and given.shape[0] == given.shape[1] and not _are_probabilities(given):
        given = given if order is None else given[order][:, order]
        return KnownPredictions(named(names, len(given)), matrix=given)
    names = named(names, predictions_shape(given)[1])
    given = given if order is None else given[:, order]
    examples: Any = arrays.get("examples")
    return KnownPredictions(names, given, None, arrays.get("labels"), examples)


def _of_a_run(run: Path) -> KnownPredictions:
    """Calibrated predictions of a run's generalist for validation rows, which trained nobody."""
    folder = run / "train-generalist"
    if not (folder / "calibration.json").is_file():
        fix = how_to_have_a_run(run)
        raise InputError("there is no trained generalist here", where=run, fix=fix)
    data = load_dataset_folder(run / "prepare-data")
    stored = torch.from_numpy(read_array(folder / "validation.log_probs.npy", mmap=False))
    temperature = read_json(folder / "calibration.json")["temperature"]
    probs = tempered_log_softmax(stored.double(), temperature).exp().numpy()
    examples: Any = data.validation.texts
    if data.kind == "images":
        examples = _Pictures(data.validation.inputs)
    return KnownPredictions(
        data.class_names, probs, labels=data.validation.labels.numpy(), examples=examples
    )


class _Pictures(Sequence[np.ndarray]):
    """The images of a split, which may lie elsewhere; each is read when it is asked for."""

    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: Any) -> Any:
        return np.asarray(self.inputs[row : row + 1])[0]


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".npy":
        return {"probs": read_array(path)}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError) as error:
        raise InputError("this file cannot be read", where=path, got=str(error)) from error
    if "probs" not in found:
        got = f"the arrays {', '.join(found)}" if found else "nothing"
        raise InputError("there is no array probs", where=path, got=got, expected=EXPECTED)
    return found


def _are_probabilities(rows: np.ndarray) -> bool:
    """Of as many rows as classes: co-predictions are symmetric, and rarely sum to one."""
    sums = rows.sum(axis=1)
    return bool(np.allclose(sums, 1, atol=SUM_ERROR) or not np.allclose(rows, rows.T))


def _read_names(given: Any) -> Sequence[Any]:
    return read_text_file(Path(given)).splitlines() if isinstance(given, str | Path) else given
