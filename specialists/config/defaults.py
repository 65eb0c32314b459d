"""Defaults that depend on the kind of input: text, features or images.

They were chosen on validation data of the shipped configs and stand here once, so that a user's
own data of that kind start from the same place.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from specialists.config.fields import Options, Section

KINDS = ("text", "features", "images")
# One column per kind of input; None: no default.
_GENERALIST = {
    "model": ("hashed_text", "mlp", "resnet"),
    "widths": ((256,), (256, 512, 1024), (48,)),
    "depth": (1, 1, 1),
    "embedding_dim": (96, None, None),
    "n_buckets": (2**18, None, None),
    "epochs": (5, 30, 40),
    "patience": (3, 3, None),
    "batch_size": (512, 512, 128),
    "learning_rate": (2e-3, 2e-3, 3e-3),
    "embedding_learning_rate": (1.0, None, None),
    "label_smoothing": (0.1, 0.0, 0.0),
    "dropout": (0.2, 0.5, 0.1),
}
_SPECIALISTS = {
    "start": ("generalist", "fresh", "independent"),
    "freeze": (("embedding",), (), ()),
    "widen": (2.0, 2.0, 1.0),
    "epochs": (8, 30, 20),
    "patience": (3, 3, None),
    "batch_size": (256, 256, 128),
    "learning_rate": (2e-3, 2e-3, 2e-3),
    "embedding_learning_rate": (0.2, None, None),
    "label_smoothing": (0.0, 0.0, 0.0),
    "dropout": (0.5, 0.5, 0.3),
}
_STUDENT = {
    "embedding_dim": (48, None, None),
    "n_buckets": (2**16, None, None),
    "epochs": (5, 30, 40),
    "patience": (3, 3, None),
    "batch_size": (512, 512, 128),
    "learning_rate": (4e-3, 4e-3, 3e-3),
    "embedding_learning_rate": (1.0, None, None),
    "label_smoothing": (0.0, 0.0, 0.0),
    "dropout": (0.0, 0.1, 0.0),
}
_SECTIONS = {
    "data": {"augment": (False, True, True), "standardize": (None, True, None)},
    "generalist": _GENERALIST,
    "specialists": _SPECIALISTS,
    "student": _STUDENT,
}


def _column(i: int) -> dict[str, dict[str, Any]]:
    return {
        name: {key: row[i] for key, row in rows.items() if row[i] is not None}
        for name, rows in _SECTIONS.items()
    }


DEFAULTS = {kind: _column(i) for i, kind in enumerate(KINDS)}


class RecordedDefaults(Section):
    """What the kind of input decided when a run was made, for the settings that were not set."""

    kind: Literal["text", "features", "images"]
    """Kind of input."""
    data: Options = Field(default_factory=dict)
    """Of [data]."""
    generalist: Options = Field(default_factory=dict)
    """Of [generalist]."""
    specialists: Options = Field(default_factory=dict)
    """Of [specialists]."""
    student: Options = Field(default_factory=dict)
    """Of [student]."""
