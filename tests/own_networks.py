"""Networks of a user's own: token ids by name, outputs with ``.logits``, a head with a scale."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

N_CLASSES, N_TOKENS, LENGTH = 12, 200, 8


@dataclass
class Output:
    """As transformers return it."""

    logits: Tensor


class TokenClassifier(nn.Module):
    """The mean embedding of the tokens that the mask keeps."""

    def __init__(self, n_classes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(N_TOKENS, width)
        self.head = nn.Linear(width, n_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        assert input_ids.dtype == torch.int64
        mask = attention_mask.unsqueeze(-1).float()
        means = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return Output(self.head(torch.relu(means)))


def tokens(n_classes: int, width: int = 16) -> nn.Module:
    """For ``generalist.factory = "own_networks:tokens"``."""
    return TokenClassifier(n_classes, width)


def token_rows(n_per_class: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of different lengths, padded; three tokens each of a class or of its family."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(N_CLASSES), n_per_class))
    lengths = rng.integers(6, LENGTH + 1, len(labels))
    ids = rng.integers(17, N_TOKENS, (len(labels), LENGTH))
    ids[:, 0] = 13 + labels // 3
    ids[:, 1] = np.where(rng.random(len(labels)) < 0.7, 1 + labels, ids[:, 1])
    mask = np.arange(LENGTH) < lengths[:, None]
    return {"input_ids": ids * mask, "attention_mask": mask.astype(np.int64)}, labels


def write_tokens(file: Path) -> Path:
    """The arrays of all splits, by name."""
    arrays = {}
    for seed, (part, n) in enumerate({"train": 40, "validation": 12, "test": 10}.items()):
        x, arrays[f"y_{part}"] = token_rows(n, seed)
        arrays |= {f"{name}_{part}": values for name, values in x.items()}
    np.savez(file, **arrays)
    return file
