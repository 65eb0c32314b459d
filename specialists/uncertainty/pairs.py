"""Two models' scores of the same examples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specialists.errors import InputError


def paired(a: ArrayLike, b: ArrayLike) -> tuple[NDArray, NDArray]:
    """Both as arrays of one shape (n,); an InputError for anything else, n = 0 included."""
    first, second = np.asarray(a), np.asarray(b)
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise InputError(
            "Paired scores must be two arrays of the same examples",
            got=f"shapes {first.shape} and {second.shape}",
            expected="two equal shapes (n,), n at least 1",
        )
    return first, second
