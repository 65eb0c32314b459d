"""How are new inputs made into the tensors that a network was trained on?

``preprocessing`` is plain JSON that travels with a data set and with every model trained on it:

    {"kind": "text", "char_ngrams": [1, 4], "word_ngrams": [0, 0], "lowercase": false}
    {"kind": "text", "tokenizer": the JSON of a tokenizer, as a string}
    {"kind": "features", "n_features": d, "mean": [...] or null, "std": [...] or null}
    {"kind": "images", "channels": 1 or 3, "height": h, "width": w}
    {"kind": "tensors", "tensors": {"input_ids": ["int64", [length]], ...}}

Keys beside these tell where the training data lay (for instance the name of a text column).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specialists.datasets.base import Inputs, NamedTensors, Preprocessing, Ragged
from specialists.datasets.handed_over import features_of, pictures_of, tensors_of, texts_of
from specialists.datasets.pictures import fit_images, image_pixels, read_images
from specialists.datasets.text import hash_ngrams
from specialists.datasets.tokens import encode_tokens
from specialists.errors import DataError, listed

NEEDED = {
    "text": ("char_ngrams", "word_ngrams", "lowercase"),
    "features": ("n_features",),
    "images": ("channels", "height", "width"),
    "tensors": ("tensors",),
}
TOKENIZER = "tokenizer"  # a key that stands for those of n-grams
SHAPED = ("features", "images")  # whose rows have the shape that NEEDED says
LONGEST_NGRAM = 64
TYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.float16, torch.float32, torch.float64),
    )
}


def encode(preprocessing: Preprocessing, raw: Any) -> Inputs:
    """Encode raw inputs as the training data were.

    Parameters
    ----------
    preprocessing : mapping
        Of a data set or a model.
    raw : array-like, DataFrame or iterable
        Text: strings, or a DataFrame with the column of texts. Features: numbers of shape [n, d],
        or a DataFrame. Images: uint8 array [n, h, w], [n, channels, h, w] or [n, h, w, channels],
        or a list of such pictures of any size, of images of Pillow, or of paths. Tensors: arrays
        by name, or a single one where training had one.

    Raises
    ------
    DataError
        The inputs are of another kind or shape, not finite, or one where several are wanted.
    """
    check_complete(preprocessing)
    encoders = {"text": encode_text, "features": encode_features, "images": encode_images}
    encoders |= {"tensors": encode_tensors}
    return encoders[preprocessing["kind"]](preprocessing, raw)


def check_complete(preprocessing: Preprocessing) -> None:
    """Raise a DataError unless it says how new inputs are encoded; that of a factory may not."""
    kind = preprocessing.get("kind")
    if not isinstance(kind, str) or kind not in NEEDED:
        raise DataError("unknown kind of input", got=kind, expected=", ".join(NEEDED))
    needed = (TOKENIZER,) if _reads_tokens(preprocessing) else NEEDED[kind]
    missing = [key for key in needed if key not in preprocessing]
    if missing:
        what = "the preprocessing of this model does not say how new inputs are encoded"
        raise DataError(what, got=f"{kind} without {', '.join(missing)}")


def _reads_tokens(preprocessing: Preprocessing) -> bool:
    return preprocessing.get("kind") == "text" and TOKENIZER in preprocessing


def check_preprocessing(preprocessing: Preprocessing, input_shape: tuple[int, ...]) -> None:
    """Check what somebody else may have written before inputs are encoded by it.

    The network takes inputs of ``input_shape``: () for text and tensors.

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
    shape = tuple(preprocessing[key] for key in NEEDED[kind]) if kind in SHAPED else ()
    if shape != input_shape:
        raise ValueError(f"{kind} of shape {shape} for a network that takes {input_shape}")
    tokenizer = preprocessing.get(TOKENIZER, "")
    if not isinstance(tokenizer, str):
        raise TypeError("a tokenizer that is no string")
    for key in ("char_ngrams", "word_ngrams") if kind == "text" and not tokenizer else ():
        shortest, longest = preprocessing[key]
        if not 0 <= shortest <= longest <= LONGEST_NGRAM:
            raise ValueError(f"{key} from {shortest} to {longest}")
    for dtype, row in preprocessing["tensors"].values() if kind == "tensors" else ():
        torch.empty(0, *row, dtype=TYPES[dtype])
    for numbers in (preprocessing.get("mean"), preprocessing.get("std")):
        if numbers is not None:
            np.asarray(numbers, dtype=np.float32).reshape(shape)
    names = [preprocessing.get("key"), preprocessing.get("column")]
    for key in ("features", "columns"):
        names += preprocessing.get(key) or []
    if not all(name is None or isinstance(name, str) for name in names):
        raise TypeError("names that are no strings")


def encode_text(preprocessing: Preprocessing, texts: Any) -> Ragged:
    """Hashed n-grams of strings, or their tokens, one row each."""
    strings = texts_of(texts, preprocessing.get("column", "text"))
    if _reads_tokens(preprocessing):
        return encode_tokens(preprocessing[TOKENIZER], strings)
    characters, words = preprocessing["char_ngrams"], preprocessing["word_ngrams"]
    return hash_ngrams(strings, characters, words, bool(preprocessing["lowercase"]))


def encode_features(preprocessing: Preprocessing, features: Any) -> Tensor:
    """Finite float32 features, standardised where the training data were: (x - mean) / std."""
    n_features = preprocessing["n_features"]
    array = numeric(features_of(features, n_features, preprocessing.get("features")))
    if array.ndim != 2 or array.shape[1] != n_features:
        expected = f"[n, {n_features}]"
        raise DataError("features have the wrong shape", got=array.shape, expected=expected)
    check_finite(array)
    encoded = array.astype(np.float32)
    if preprocessing.get("mean") is not None:
        encoded -= np.asarray(preprocessing["mean"], dtype=np.float32)
        encoded /= np.asarray(preprocessing["std"], dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(encoded))


def encode_images(preprocessing: Preprocessing, images: Any) -> Tensor:
    """Pixels of shape [n, channels, height, width], uint8; other sizes are resampled."""
    channels, size = preprocessing["channels"], (preprocessing["height"], preprocessing["width"])
    pictures = pictures_of(images, size)
    if isinstance(pictures, np.ndarray):
        return fit_images(pictures, channels, size)
    if all(isinstance(picture, str | PathLike) for picture in pictures):
        return read_images([Path(path) for path in pictures], channels, size)
    singles = [_picture(p, channels, size, f"input {i}") for i, p in enumerate(pictures)]
    return torch.cat(singles)


def encode_tensors(preprocessing: Preprocessing, given: Any) -> NamedTensors:
    """Tensors of the names, types and row shapes that training had."""
    wanted = preprocessing["tensors"]
    if not isinstance(given, Mapping | NamedTensors) and len(wanted) == 1:
        given = {next(iter(wanted)): given}
    tensors = tensors_of(given).tensors
    missing = [name for name in wanted if name not in tensors]
    if missing:
        got, expected = listed(map(repr, tensors)), listed(map(repr, wanted))
        raise DataError("tensors that training had are missing", got=got, expected=expected)
    return NamedTensors({name: _as_trained(name, tensors[name], *wanted[name]) for name in wanted})


def described_tensors(inputs: NamedTensors) -> Preprocessing:
    """The preprocessing of such inputs."""
    described = {
        name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape[1:])]
        for name, tensor in inputs.tensors.items()
    }
    return {"kind": "tensors", "tensors": described}


def _as_trained(name: str, tensor: Tensor, dtype: str, shape: list[int]) -> Tensor:
    wanted = TYPES[dtype]
    whole = not wanted.is_floating_point
    if list(tensor.shape[1:]) != shape or (whole and tensor.is_floating_point()):
        got = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
        expected = f"torch.{dtype} of shape (n{''.join(f', {size}' for size in shape)})"
        what = f"the tensor {name!r} is not as in training"
        fix = "pad or cut rows to the length that training had" if len(shape) == 1 else None
        raise DataError(what, got=got, expected=expected, fix=fix)
    return tensor.to(wanted)


def _picture(picture: Any, channels: int, size: tuple[int, int], where: str) -> Tensor:
    """One picture of a list, of shape [1, channels, height, width]."""
    if isinstance(picture, np.ndarray):
        return fit_images(picture[None], channels, size, where)
    if isinstance(picture, str | PathLike):
        return read_images([Path(picture)], channels, size)
    return torch.from_numpy(image_pixels(picture, channels, size, where)[None])


def standardisation(features: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of every column of training features, float (n, d).

    A constant column keeps its scale.
    """
    return standardisation_of([features])


def standardisation_of(blocks: Iterable[np.ndarray]) -> dict[str, list[float]]:
    """The same of rows that come in blocks (Chan, Golub and LeVeque 1979)."""
    n, mean, variance = 0, np.zeros(1), np.zeros(1)
    for block in blocks:
        own, within = (of(block, axis=0, dtype=np.float64) for of in (np.mean, np.var))
        n += len(block)
        share = len(block) / n
        variance = variance + (within - variance) * share + (own - mean) ** 2 * share * (1 - share)
        mean = mean + (own - mean) * share
    std = np.sqrt(variance)
    std[std <= 1e-6 * (np.abs(mean) + 1e-6)] = 1.0
    return {"mean": mean.astype(np.float32).tolist(), "std": std.astype(np.float32).tolist()}


def numeric(features: Any, where: object = None) -> np.ndarray:
    """An array of real numbers.

    Raises DataError: rows of different lengths, objects, strings or complex numbers.
    """
    if isinstance(features, Tensor):
        features = features.detach().cpu().float().numpy()
    try:
        array = np.asarray(features)
    except ValueError as error:
        what = "the rows of the features have different lengths"
        raise DataError(what, where=where, expected="[n, d]") from error
    if array.dtype.kind not in "fiub":
        got = f"dtype {array.dtype}{_first_other(array)}"
        expected = "real numbers of shape [n, d]"
        raise DataError("features are not numbers", where=where, got=got, expected=expected)
    return array


def _first_other(array: np.ndarray) -> str:
    """Type, value and row of the first element that is not a number."""
    for index, value in np.ndenumerate(array):
        if not isinstance(value, int | float | np.number):
            return f"; {type(value).__name__} {str(value)[:40]!r} in row {(*index, 0)[0]}"
    return ""


def check_finite(features: np.ndarray, where: object = None, first_row: int = 0) -> None:
    """Raise a DataError that names the first NaN or infinite value, whose row counts on."""
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite there
        bad = ~np.isfinite(features.astype(np.float32, copy=False))
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        first = f"first {features[row, column]} in row {first_row + row}, column {column}"
        got = f"{int(bad.sum())} in {int(bad.any(axis=1).sum())} rows, {first}"
        what, fix = "NaN or infinite features", "leave these rows out or fill them in"
        expected = f"finite numbers, at most {np.finfo(np.float32).max:.2g}"
        raise DataError(what, where=where, got=got, expected=expected, fix=fix)
