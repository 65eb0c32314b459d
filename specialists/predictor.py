"""A trained model as its user sees it: unlabelled input in, class names and probabilities out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from specialists.datasets import check_preprocessing, encode
from specialists.datasets.base import Inputs, rows_between
from specialists.datasets.dataset_objects import is_dataset
from specialists.datasets.object_rows import encode_objects
from specialists.datasets.raw_rows import RawRows, fetched_rows
from specialists.errors import InputError, listed
from specialists.networks import GivenInputs, fitting, given_log_probs, load_network
from specialists.networks.weights import GIVEN
from specialists.predictions import BATCH_SIZE, Predictions, network_predictions

BLOCK_VALUES = 1 << 23


@dataclass(frozen=True, repr=False)
class Predictor:
    """A model with the preprocessing and the class names it was trained with.

    ``predictions`` maps encoded inputs to what the model predicts. A model that ``asks`` a
    generalist of which only predictions are known needs these of the new rows too. ``network``
    gives its logits, where it is a single one.
    """

    class_names: tuple[str, ...]
    preprocessing: Mapping[str, object]
    predictions: Callable[[Inputs], Predictions]
    asks: bool = False
    network: nn.Module | None = None

    def __repr__(self) -> str:
        asks = ", asks for generalist_probs" * self.asks
        names = listed(self.class_names, 5)
        return (
            f"<Predictor of {len(self.class_names)} classes ({names}) "
            f"from {self.preprocessing.get('kind')}{asks}>"
        )

    def predict_proba(self, x: Any, generalist_probs: Any = None) -> np.ndarray:
        """Calibrated probabilities of raw inputs.

        Parameters
        ----------
        x : array-like, DataFrame or iterable, a row or item an input
            As :func:`specialists.datasets.encode` takes it. Text: strings, or a DataFrame with the
            training's text column. Features: numbers [n, d], or a DataFrame with the training's
            columns. Images: uint8 [n, h, w], [n, channels, h, w] or [n, h, w, channels], or a list
            of pictures, paths or images of Pillow. Or a Dataset of PyTorch or Hugging Face, whose
            labels are not looked at.
        generalist_probs : array of shape (n, n_classes), optional
            Of a generalist that was given as its predictions, columns as in ``class_names``.

        Returns
        -------
        float32 array of shape (n, n_classes)
            Columns as in ``class_names``.

        Raises
        ------
        InputError
            If ``x`` is not as the training data were; it names the row and the cure.
        """
        return self.predict_encoded(self._encoded(x, generalist_probs))

    def predict_log_proba(self, x: Any, generalist_probs: Any = None) -> np.ndarray:
        """Natural logarithms of :meth:`predict_proba`, which keep what rounds to 0 there."""
        inputs = self._encoded(x, generalist_probs)
        blocks = [block for _, block in self._log_blocks(inputs)]
        return torch.cat(blocks).numpy()

    def _encoded(self, x: Any, generalist_probs: Any) -> Inputs:
        if isinstance(x, RawRows):
            inputs: Inputs = fetched_rows(x, self.preprocessing)
        elif is_dataset(x):
            inputs = encode_objects(x, self.preprocessing)
        else:
            inputs = encode(self.preprocessing, x)
        if generalist_probs is None or not self.asks:
            return self.beside(inputs, None)
        shape = (len(inputs), len(self.class_names))
        return self.beside(inputs, given_log_probs(generalist_probs, *shape, "generalist_probs"))

    def beside(self, inputs: Inputs, log_probs: Tensor | None) -> Inputs:
        """Encoded inputs as the model takes them: beside a given generalist's log-probabilities.

        Raises an InputError if the model asks such a generalist, and there are none.
        """
        if not self.asks:
            return inputs
        if log_probs is None:
            raise InputError(
                "this model asks a generalist of which only predictions are known",
                got="no generalist_probs",
                expected="its probabilities of these rows: generalist_probs=, columns as in "
                "class_names, or --generalist-probs FILE of the command",
                fix="the student needs none",
            )
        return GivenInputs(inputs, log_probs)  # pyright: ignore[reportReturnType]

    def predict_encoded(self, inputs: Inputs) -> np.ndarray:
        """The same of inputs that ``specialists.datasets.encode`` made."""
        probs = np.empty((0, len(self.class_names)), dtype=np.float32)
        for rows, block in self.blocks(inputs):
            if len(block) == len(inputs):
                return block
            if rows.start == 0:
                probs = np.empty((len(inputs), len(self.class_names)), dtype=np.float32)
            probs[rows] = block
        return probs

    def blocks(self, inputs: Inputs) -> Iterator[tuple[slice, np.ndarray]]:
        """The same, a few rows at a time, so that memory stays bounded: (rows, probabilities)."""
        for rows, block in self._log_blocks(inputs):
            yield rows, block.exp().numpy()

    def _log_blocks(self, inputs: Inputs) -> Iterator[tuple[slice, Tensor]]:
        size = max(1, min(BATCH_SIZE, BLOCK_VALUES // len(self.class_names)))
        for start in range(0, len(inputs), size):
            rows = slice(start, min(start + size, len(inputs)))
            block = rows_between(inputs, rows.start, rows.stop)
            yield rows, self.predictions(block).dense().float()

    def top(self, probs: np.ndarray, k: int = 5) -> list[list[tuple[str, float]]]:
        """The k most probable classes of each row, with their probabilities.

        Raises an InputError if ``probs`` has not one column a class, or k is less than 1.
        """
        probs = np.asarray(probs, dtype=np.float32)
        if probs.ndim != 2 or probs.shape[1] != len(self.class_names) or k < 1:
            raise InputError(
                "these are no probabilities of the classes",
                got=f"shape {probs.shape}, k = {k}",
                expected=f"[n, {len(self.class_names)}], k at least 1",
            )
        k = min(k, len(self.class_names))
        values, index = torch.from_numpy(np.require(probs, requirements="W")).topk(k, dim=1)
        return [
            [(self.class_names[c], p) for c, p in zip(classes, ps, strict=True)]
            for classes, ps in zip(index.tolist(), values.tolist(), strict=True)
        ]


def load_model(folder: Path) -> Predictor:
    """The student or generalist whose folder this is, wherever it was copied.

    Raises
    ------
    InputError
        If it is a specialist, which predicts no full distribution, or its files are damaged or do
        not belong together.
    """
    network, spec, about = load_network(folder)
    if "subset" in about:
        raise InputError(
            "a specialist alone predicts no full distribution", where=folder, fix="load the run"
        )
    with fitting(folder):
        names, preprocessing = tuple(map(str, about["class_names"])), dict(about["preprocessing"])
        check_preprocessing(preprocessing, spec.input_shape)
        temperature = float(about["temperature"])
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature {temperature}")
        if len(names) != spec.n_classes:
            raise ValueError(f"{len(names)} names for {spec.n_classes} classes")

    def predictions(inputs: Inputs) -> Predictions:
        return network_predictions(network, inputs, temperature)

    asks = bool(about.get(GIVEN))
    return Predictor(names, preprocessing, predictions, asks, None if asks else network)
