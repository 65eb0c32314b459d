"""Which real predictions can clusters be tried on in a minute? Those of linear discriminants.

Linear discriminant analysis on given or cheap features, trained on one half of the examples and
asked about the other, both ways round, with one temperature that makes them fit the labels. Each
data set comes with groups that people know: major groups of O*NET occupations (the first two
characters of the code), alphabets of Omniglot, domains of CLINC150.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

N_TEXT_DIMENSIONS = 200
TEMPERATURES = 2.0 ** np.arange(0, 5, 0.5)


@dataclass(frozen=True)
class RealPredictions:
    """Out-of-fold probabilities of shape (n, C), and a known group for each class."""

    name: str
    probs: NDArray[np.float32]
    groups: list[str]
    top1: float


def real_predictions(folder: Path) -> Iterator[RealPredictions]:
    """Predictions for each data set that is in ``folder``."""
    for path, load in (
        ("onet_titles/onet_minilm.npz", onet),
        ("omniglot/omniglot28.npz", omniglot),
        ("clinc150/clinc150.tsv.gz", clinc150),
    ):
        if (folder / path).is_file():
            yield load(folder / path)


def onet(path: Path) -> RealPredictions:
    """781 occupations by the sentence embeddings of their titles."""
    arrays = np.load(path, allow_pickle=False)
    names, labels = np.unique(arrays["y"], return_inverse=True)
    groups = [str(code)[:2] for code in names]
    return _predicted("O*NET titles", arrays["x"], labels, groups)


def omniglot(path: Path) -> RealPredictions:
    """1,623 characters by their pixels, 14 x 14."""
    arrays = np.load(path, allow_pickle=False)
    images, labels = arrays["x"] / 255.0, arrays["y"].astype(int)
    small = images.reshape(len(images), 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(images), -1)
    groups = np.empty(len(arrays["classes"]), dtype=int)
    groups[labels] = arrays["alphabet"]
    known = [str(arrays["alphabets"][group]) for group in groups]
    return _predicted("Omniglot", small, labels, known)


def clinc150(path: Path) -> RealPredictions:
    """150 intents by the words of their sentences."""
    import pandas as pd
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    columns = ["split", "label", "text"]
    table = pd.read_csv(path, sep="\t", names=columns, quoting=3, keep_default_na=False)
    table = table[(table["split"] == "train") & (table["label"] != "oos")]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(table["text"])
    features = TruncatedSVD(N_TEXT_DIMENSIONS, random_state=0).fit_transform(words)
    names, labels = np.unique(np.asarray(table["label"], dtype=str), return_inverse=True)
    domains = json.loads((path.parent / "domains.json").read_text(encoding="utf-8"))
    domain = {intent: name for name, intents in domains.items() for intent in intents}
    return _predicted("CLINC150", features, labels, [domain[name] for name in names])


def _predicted(
    name: str, features: NDArray, labels: NDArray[np.int64], groups: list[str]
) -> RealPredictions:
    probs = tempered(out_of_fold(features.astype(np.float64), labels), labels)
    return RealPredictions(name, probs, groups, float((probs.argmax(axis=1) == labels).mean()))


def out_of_fold(features: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities for every example by a model that saw the other half, shape (n, C)."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    probs = cross_val_predict(model, features, labels, cv=folds, method="predict_proba")
    return np.asarray(probs, dtype=np.float32)


def tempered(probs: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Probabilities at the temperature, of ten, with the least negative log-likelihood."""

    def at(temperature: float) -> NDArray[np.float32]:
        rows = np.maximum(probs, 1e-30) ** np.float32(1 / temperature)
        return rows / rows.sum(axis=1, keepdims=True)

    def nll(rows: NDArray[np.float32]) -> float:
        return -np.log(rows[np.arange(len(labels)), labels]).mean()

    return min(map(at, TEMPERATURES), key=nll)
