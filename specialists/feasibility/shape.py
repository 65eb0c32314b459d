"""What of the data do checks need? Their kind, and how many and how large they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataShape:
    """Kind and size of prepared data.

    Parameters
    ----------
    kind : {"text", "features", "images"}
    n_classes : int
    n_train, n_test : int
        Rows.
    input_shape : tuple of int
        Of one row: () for text, (d,) for features, (channels, height, width) for images.
    """

    kind: str
    n_classes: int
    n_train: int
    n_test: int
    input_shape: tuple[int, ...] = ()
