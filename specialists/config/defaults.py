"""Defaults that depend on the kind of input: text, features or images.

They were chosen on validation data of the shipped configs and stand here once, so that a user's
own data of that kind start from the same place.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    "text": {
        "data": {"augment": False},
        "generalist": {
            "model": "hashed_text",
            "widths": (256,),
            "depth": 1,
            "embedding_dim": 96,
            "n_buckets": 2**18,
            "epochs": 5,
            "patience": 3,
            "batch_size": 512,
            "learning_rate": 2e-3,
            "embedding_learning_rate": 1.0,
            "label_smoothing": 0.1,
            "dropout": 0.2,
        },
        "specialists": {
            "start": "generalist",
            "freeze": ("embedding",),
            "widen": 2.0,
            "epochs": 8,
            "patience": 3,
            "batch_size": 256,
            "learning_rate": 2e-3,
            "embedding_learning_rate": 0.2,
            "label_smoothing": 0.0,
            "dropout": 0.5,
        },
        "student": {
            "embedding_dim": 48,
            "n_buckets": 2**16,
            "epochs": 5,
            "patience": 3,
            "batch_size": 512,
            "learning_rate": 4e-3,
            "embedding_learning_rate": 1.0,
            "label_smoothing": 0.0,
            "dropout": 0.0,
        },
    },
    "features": {
        "data": {"augment": True, "standardize": True},
        "generalist": {
            "model": "mlp",
            "widths": (256, 512, 1024),
            "depth": 1,
            "epochs": 30,
            "patience": 3,
            "batch_size": 512,
            "learning_rate": 2e-3,
            "label_smoothing": 0.0,
            "dropout": 0.5,
        },
        "specialists": {
            "start": "fresh",
            "freeze": (),
            "widen": 2.0,
            "epochs": 30,
            "patience": 3,
            "batch_size": 256,
            "learning_rate": 2e-3,
            "label_smoothing": 0.0,
            "dropout": 0.5,
        },
        "student": {
            "epochs": 30,
            "patience": 3,
            "batch_size": 512,
            "learning_rate": 4e-3,
            "label_smoothing": 0.0,
            "dropout": 0.1,
        },
    },
    "images": {
        "data": {"augment": True},
        "generalist": {
            "model": "resnet",
            "widths": (48,),
            "depth": 1,
            "epochs": 40,
            "batch_size": 128,
            "learning_rate": 3e-3,
            "label_smoothing": 0.0,
            "dropout": 0.1,
        },
        "specialists": {
            "start": "independent",
            "freeze": (),
            "widen": 1.0,
            "epochs": 20,
            "batch_size": 128,
            "learning_rate": 2e-3,
            "label_smoothing": 0.0,
            "dropout": 0.3,
        },
        "student": {
            "epochs": 40,
            "batch_size": 128,
            "learning_rate": 3e-3,
            "label_smoothing": 0.0,
            "dropout": 0.0,
        },
    },
}
