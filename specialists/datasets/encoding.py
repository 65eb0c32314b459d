"""How are new inputs made into the tensors that a network was trained on?

``preprocessing`` is plain JSON that travels with a data set and with every model trained on it:

    {"kind": "text", "char_ngrams": [1, 4], "word_ngrams": [0, 0], "lowercase": false}
    {"kind": "features", "n_features": d, "mean": [...] or null, "std": [...] or null}
    {"kind": "images", "channels": 1 or 3, "height": h, "width": w}

Keys beside these tell where the training data lay (for instance the name of a text column).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.base import Inputs, Ragged
from specialists.datasets.pictures import read_images
from specialists.datasets.pixels import fit_images
from specialists.datasets.text import hash_ngrams
from specialists.errors import DataError


def encode(preprocessing: Mapping[str, Any], raw: Any) -> Inputs:
    """Encode raw inputs as the training data were.

    Parameters
    ----------
    preprocessing : mapping
        Of a data set or a model.
    raw : sequence of str, array-like or sequence of paths
        Text: strings. Features: numbers of shape [n, d]. Images: uint8 array [n, h, w] or
        [n, channels, h, w], or paths of image files.

    Raises
    ------
    DataError
        The inputs are of another kind or shape, or not finite.
    """
    encoders = {"text": encode_text, "features": encode_features, "images": encode_images}
    kind = preprocessing.get("kind")
    if kind not in encoders:
        raise DataError("unknown kind of input", got=kind, expected=", ".join(encoders))
    return encoders[kind](preprocessing, raw)


def encode_text(preprocessing: Mapping[str, Any], texts: Sequence[str]) -> Ragged:
    """Hashed n-grams of strings, one row each."""
    if isinstance(texts, str):
        raise DataError("one string where several are wanted", fix="pass a list of strings")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                "a text is not a string",
                where=f"input {i}",
                got=type(text).__name__,
                expected="str",
            )
    shortest, longest = preprocessing["char_ngrams"]
    words = preprocessing["word_ngrams"]
    return hash_ngrams(
        texts, (shortest, longest), (words[0], words[1]), bool(preprocessing["lowercase"])
    )


def encode_features(preprocessing: Mapping[str, Any], features: Any) -> Tensor:
    """Finite float32 features, standardised where the training data were: (x - mean) / std."""
    array = numeric(features)
    n_features = preprocessing["n_features"]
    if array.ndim != 2 or array.shape[1] != n_features:
        raise DataError(
            "features have the wrong shape", got=array.shape, expected=f"[n, {n_features}]"
        )
    check_finite(array)
    encoded = array.astype(np.float32)
    if preprocessing.get("mean") is not None:
        mean = np.asarray(preprocessing["mean"], dtype=np.float32)
        encoded = (encoded - mean) / np.asarray(preprocessing["std"], dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(encoded, dtype=np.float32))


def encode_images(preprocessing: Mapping[str, Any], images: Any) -> Tensor:
    """Pixels of shape [n, channels, height, width], uint8; other sizes are resampled."""
    channels, size = preprocessing["channels"], (preprocessing["height"], preprocessing["width"])
    if _are_paths(images):
        return read_images([Path(image) for image in images], channels, size)
    return fit_images(np.asarray(images), channels, size)


def standardisation(features: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of every column; a constant column keeps its scale.

    Parameters
    ----------
    features : float array of shape (n, d)
        Of the training split alone.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    std = features.std(axis=0, dtype=np.float64)
    std[std <= 1e-6 * (np.abs(mean) + 1e-6)] = 1.0
    return {"mean": mean.astype(np.float32).tolist(), "std": std.astype(np.float32).tolist()}


def numeric(features: Any, where: object = None) -> np.ndarray:
    """An array of real numbers.

    Raises
    ------
    DataError
        Rows of different lengths, objects, strings or complex numbers.
    """
    if isinstance(features, Tensor):
        features = features.detach().cpu().float().numpy()
    try:
        array = np.asarray(features)
    except ValueError as error:
        raise DataError(
            "the rows of the features have different lengths", where=where, expected="[n, d]"
        ) from error
    if array.dtype.kind not in "fiub":
        raise DataError(
            "features are not numbers",
            where=where,
            got=f"dtype {array.dtype}",
            expected="real numbers of shape [n, d]",
        )
    return array


def check_finite(features: np.ndarray, where: object = None) -> None:
    """Raise a DataError that names the first NaN or infinite value."""
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite there
        bad = ~np.isfinite(features.astype(np.float32, copy=False))
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            "NaN or infinite features",
            where=where,
            got=f"{int(bad.sum())} in {int(bad.any(axis=1).sum())} rows, "
            f"first {features[row, column]} in row {row}, column {column}",
            expected="finite numbers",
            fix="leave these rows out or fill them in",
        )


def _are_paths(images: Any) -> bool:
    return (
        isinstance(images, Sequence)
        and len(images) > 0
        and all(isinstance(image, (str, Path)) for image in images)
    )
