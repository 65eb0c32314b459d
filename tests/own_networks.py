"""Networks of a user's own: token ids by name, outputs with ``.logits``, a head with a scale."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class CosineHead(nn.Linear):
    """Cosines of features and class vectors, times a factor and a scale that is learned."""

    def __init__(self, in_features: int, out_features: int, factor: float = 1.0) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.factor = factor
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, input: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(input, dim=-1), F.normalize(self.weight, dim=-1))
        return self.factor * self.scale * cosines


def cosine(n_classes: int, dim: int = 6, factor: float = 2.0) -> nn.Module:
    """Features below a cosine head."""
    return nn.Sequential(nn.Linear(dim, 16), nn.Tanh(), CosineHead(16, n_classes, factor))


class Tempered(nn.Module):
    """A network that goes on after its head."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.below, self.head = nn.Linear(6, 8), nn.Linear(8, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.below(x).relu()).log_softmax(-1)


def pair(n_classes: int) -> nn.Module:
    """Two outputs, whatever the classes."""
    return nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.5), nn.Linear(4, 2))


def tempered(n_classes: int) -> nn.Module:
    return Tempered(n_classes)


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
