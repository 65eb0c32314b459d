"""What do checks need to know of the data? Their kind, their number and their size."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataShape:
    """Kind ("text", "features", "images", "tensors") and size of prepared data.

    ``n_train`` and ``n_test`` count rows. The shape of one row is () for text and tensors, (d,) for
    features and (channels, height, width) for images.
    """

    kind: str
    n_classes: int
    n_train: int
    n_test: int
    input_shape: tuple[int, ...] = ()
