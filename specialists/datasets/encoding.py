"""How are new inputs made into the tensors that a network was trained on?

``preprocessing`` is plain JSON that travels with a data set and with every model trained on it:

    {"kind": "text", "char_ngrams": [1, 4], "word_ngrams": [0, 0], "lowercase": false}
    {"kind": "features", "n_features": d, "mean": [...] or null, "std": [...] or null}
    {"kind": "images", "channels": 1 or 3, "height": h, "width": w}

Keys beside these tell where the training data lay (for instance the name of a text column).
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.base import Inputs, Ragged
from specialists.datasets.handed_over import features_of, pictures_of, texts_of
from specialists.datasets.pictures import image_pixels, read_images
from specialists.datasets.pixels import fit_images, with_channels
from specialists.datasets.text import hash_ngrams
from specialists.errors import DataError

NEEDED = {
    "text": ("char_ngrams", "word_ngrams", "lowercase"),
    "features": ("n_features",),
    "images": ("channels", "height", "width"),
}
LONGEST_NGRAM = 64


def encode(preprocessing: Mapping[str, Any], raw: Any) -> Inputs:
    """Encode raw inputs as the training data were.

    Parameters
    ----------
    preprocessing : mapping
        Of a data set or a model.
    raw : array-like, DataFrame or iterable
        Text: strings, or a DataFrame with the column of texts. Features: numbers of shape [n, d],
        or a DataFrame. Images: uint8 array [n, h, w], [n, channels, h, w] or [n, h, w, channels],
        or a list of such pictures of any size, of images of Pillow, or of paths.

    Raises
    ------
    DataError
        The inputs are of another kind or shape, not finite, or one where several are wanted.
    """
    check_complete(preprocessing)
    encoders = {"text": encode_text, "features": encode_features, "images": encode_images}
    return encoders[preprocessing["kind"]](preprocessing, raw)


def check_complete(preprocessing: Mapping[str, Any]) -> None:
    """Raise a DataError unless it says how new inputs are encoded; that of a factory may not."""
    kind = preprocessing.get("kind")
    if not isinstance(kind, str) or kind not in NEEDED:
        raise DataError("unknown kind of input", got=kind, expected=", ".join(NEEDED))
    missing = [key for key in NEEDED[kind] if key not in preprocessing]
    if missing:
        raise DataError(
            "the preprocessing of this model does not say how new inputs are encoded",
            got=f"{kind} without {', '.join(missing)}",
        )


def check_preprocessing(preprocessing: Mapping[str, Any], input_shape: tuple[int, ...]) -> None:
    """Check what somebody else may have written before inputs are encoded by it.

    Parameters
    ----------
    preprocessing : mapping
    input_shape : tuple of int
        What the network takes: () for text.

    Raises
    ------
    TypeError, ValueError
        If inputs of this shape cannot be made by it.
    """
    try:
        check_complete(preprocessing)
    except DataError:
        return  # told where inputs are encoded: there may be none
    kind = preprocessing["kind"]
    shape = tuple(preprocessing[key] for key in NEEDED[kind]) if kind != "text" else ()
    if shape != input_shape:
        raise ValueError(f"{kind} of shape {shape} for a network that takes {input_shape}")
    for key in ("char_ngrams", "word_ngrams") if kind == "text" else ():
        shortest, longest = preprocessing[key]
        if not 0 <= shortest <= longest <= LONGEST_NGRAM:
            raise ValueError(f"{key} from {shortest} to {longest}")
    for key in ("mean", "std"):
        if preprocessing.get(key) is not None:
            np.asarray(preprocessing[key], dtype=np.float32).reshape(shape)
    names = [preprocessing.get("key"), preprocessing.get("column")]
    for key in ("features", "columns"):
        names += preprocessing.get(key) or []
    if not all(name is None or isinstance(name, str) for name in names):
        raise TypeError("names that are no strings")


def encode_text(preprocessing: Mapping[str, Any], texts: Any) -> Ragged:
    """Hashed n-grams of strings, one row each."""
    shortest, longest = preprocessing["char_ngrams"]
    words = preprocessing["word_ngrams"]
    return hash_ngrams(
        texts_of(texts, preprocessing.get("column", "text")),
        (shortest, longest),
        (words[0], words[1]),
        bool(preprocessing["lowercase"]),
    )


def encode_features(preprocessing: Mapping[str, Any], features: Any) -> Tensor:
    """Finite float32 features, standardised where the training data were: (x - mean) / std."""
    n_features = preprocessing["n_features"]
    array = numeric(features_of(features, n_features, preprocessing.get("features")))
    if array.ndim != 2 or array.shape[1] != n_features:
        raise DataError(
            "features have the wrong shape", got=array.shape, expected=f"[n, {n_features}]"
        )
    check_finite(array)
    encoded = array.astype(np.float32)
    if preprocessing.get("mean") is not None:
        encoded -= np.asarray(preprocessing["mean"], dtype=np.float32)
        encoded /= np.asarray(preprocessing["std"], dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(encoded))


def encode_images(preprocessing: Mapping[str, Any], images: Any) -> Tensor:
    """Pixels of shape [n, channels, height, width], uint8; other sizes are resampled."""
    channels, size = preprocessing["channels"], (preprocessing["height"], preprocessing["width"])
    pictures = pictures_of(images, size)
    if isinstance(pictures, np.ndarray):
        return _fitted(pictures, channels, size)
    paths = [Path(p) for p in pictures if isinstance(p, str | PathLike)]
    if len(paths) == len(pictures):
        return read_images(paths, channels, size)
    singles = [_picture(p, channels, size, f"input {i}") for i, p in enumerate(pictures)]
    return torch.cat(singles)


def _picture(picture: Any, channels: int, size: tuple[int, int], where: str) -> Tensor:
    """One picture of a list, of shape [1, channels, height, width]."""
    if isinstance(picture, np.ndarray):
        return _fitted(picture[None], channels, size, where)
    if isinstance(picture, str | PathLike):
        return read_images([Path(picture)], channels, size)
    return torch.from_numpy(image_pixels(picture, channels, size, where)[None])


def _fitted(
    pictures: np.ndarray, channels: int, size: tuple[int, int], where: str | None = None
) -> Tensor:
    pixels = with_channels(pictures, where)
    if pixels.shape[1] != channels:
        raise DataError(
            "images have the wrong number of channels",
            where=where,
            got=f"{pixels.shape[1]}, of shape {pictures.shape}",
            expected=f"{channels}, as in training",
            fix="make them grey, or coloured, as image files are: pass images of Pillow",
        )
    return fit_images(pixels, channels, size)


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
            got=f"dtype {array.dtype}{_first_other(array)}",
            expected="real numbers of shape [n, d]",
        )
    return array


def _first_other(array: np.ndarray) -> str:
    """Where the first thing is that is no number."""
    for place, value in np.ndenumerate(array):
        if not isinstance(value, int | float | np.number):
            return f"; {type(value).__name__} {str(value)[:40]!r} in row {(*place, 0)[0]}"
    return ""


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
