"""Defaults that depend on the kind of input: text, features, images or tensors.

They were chosen on validation data of the shipped configs and stand here once, so that a user's
own data of that kind start from the same place.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from specialists.config.fields import Options, Section

KINDS = ("text", "features", "images", "tensors")
# One column per kind of input; None: no default. Tensors are for a network of one's own.
_GENERALIST = {
    "model": ("hashed_text", "mlp", "resnet", None),
    "widths": ((256,), (256, 512, 1024), (48,), (1,)),
    "depth": (1, 1, 1, 1),
    "embedding_dim": (96, None, None, None),
    "n_buckets": (2**18, None, None, None),
    "epochs": (5, 30, 40, 10),
    "patience": (3, 3, None, 3),
    "batch_size": (512, 512, 128, 64),
    "learning_rate": (2e-3, 2e-3, 3e-3, 1e-3),
    "embedding_learning_rate": (1.0, None, None, None),
    "label_smoothing": (0.1, 0.0, 0.0, 0.0),
    "dropout": (0.2, 0.5, 0.1, None),
}
_SPECIALISTS = {
    "start": ("generalist", "fresh", "independent", "generalist"),
    "freeze": (("embedding",), (), (), ()),
    "widen": (2.0, 2.0, 1.0, 1.0),
    "epochs": (8, 30, 20, 10),
    "patience": (3, 3, None, 3),
    "batch_size": (256, 256, 128, 64),
    "learning_rate": (2e-3, 2e-3, 2e-3, 1e-3),
    "embedding_learning_rate": (0.2, None, None, None),
    "label_smoothing": (0.0, 0.0, 0.0, 0.0),
    "dropout": (0.5, 0.5, 0.3, None),
}
_STUDENT = {
    "embedding_dim": (48, None, None, None),
    "n_buckets": (2**16, None, None, None),
    "epochs": (5, 30, 40, 10),
    "patience": (3, 3, None, 3),
    "batch_size": (512, 512, 128, 64),
    "learning_rate": (4e-3, 4e-3, 3e-3, 1e-3),
    "embedding_learning_rate": (1.0, None, None, None),
    "label_smoothing": (0.0, 0.0, 0.0, 0.0),
    "dropout": (0.0, 0.1, 0.0, None),
}
_SECTIONS = {
    "data": {"augment": (False, True, True, False), "standardize": (None, True, None, None)},
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

# Of transformers that are fine-tuned, and of adapters: usual ones, not measured here. None: as the
# network says.
_FINE_TUNED = {
    "epochs": 3,
    "patience": 2,
    "batch_size": 32,
    "learning_rate": 5e-5,
    "label_smoothing": 0.0,
    "dropout": None,
}
_NO_TABLE = dict.fromkeys(("depth", "embedding_dim", "n_buckets", "embedding_learning_rate"))
PRETRAINED = {
    "generalist": {**_FINE_TUNED, **_NO_TABLE, "model": None, "widths": (1,)},
    "specialists": {**_FINE_TUNED, **_NO_TABLE, "start": "generalist", "freeze": (), "widen": 1.0},
    "student": {**_FINE_TUNED, **_NO_TABLE, "epochs": 5},
}
ADAPTED = {
    "start": "generalist",
    "freeze": (),
    "widen": 1.0,
    "epochs": 5,
    "learning_rate": 1e-3,
    "embedding_learning_rate": None,
}


class RecordedDefaults(Section):
    """What the kind of input decided when a run was made, for the settings that were not set."""

    kind: Literal["text", "features", "images", "tensors"]
    """Kind of input."""
    data: Options = Field(default_factory=dict)
    """Of [data]."""
    generalist: Options = Field(default_factory=dict)
    """Of [generalist]."""
    specialists: Options = Field(default_factory=dict)
    """Of [specialists]."""
    student: Options = Field(default_factory=dict)
    """Of [student]."""
