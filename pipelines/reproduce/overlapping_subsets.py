"""Section 5: specialists of overlapping subsets beside a generalist, by the paper's own rule.

The subsets are the classes nearest to centroids of K-means, so that some classes lie in many
subsets and others in none, as in the paper's Table 4. Each specialist starts from the generalist,
and is asked about the rows whose most probable class lies in its subset (n = 1). They are joined
exactly, with weight 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from specialists.calibration import fit_temperature
from specialists.combination import combine
from specialists.config import SpecialistsConfig
from specialists.covariance import PredictionCovariance, normalised
from specialists.covariance.rows import unit_rows
from specialists.files import sha256
from specialists.predictions import DensePredictions, network_predictions
from specialists.probability import tempered_log_softmax
from specialists.runtime import derive_seed
from specialists.specialist import (
    Specialist,
    load_specialist,
    save_specialist,
    specialise,
    train_specialist,
)

from ..runs import ensure_result
from .kept_training import KEPT_WEIGHTS, KeptModel, conditions, cpu_seconds_kept, hardware_of

N_STARTS = 4


def nearest_subsets(
    predictions: Tensor, n_subsets: int, size: int, seed: int
) -> list[tuple[int, ...]]:
    """The classes nearest to each centroid of the predictions' correlations, nearest first.

    K-means on the columns of the correlation matrix, scaled to unit length: on those of the
    covariance, which the paper takes, one cluster holds most classes.

    Parameters
    ----------
    predictions : Tensor of shape (n, C)
        Log-probabilities.
    n_subsets, size : int
        Number of subsets, and of the classes of each.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    covariance = PredictionCovariance(predictions.shape[1])
    for rows in predictions.split(4096):
        covariance.update(rows.double().exp())
    columns = unit_rows(normalised(covariance.covariance()))
    with threadpool_limits(1):
        fitted = KMeans(n_subsets, n_init=N_STARTS, random_state=seed).fit(columns)  # pyright: ignore
    cosines = unit_rows(fitted.cluster_centers_) @ columns.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :size]
    return [tuple(map(int, classes)) for classes in order]


@dataclass(frozen=True)
class SpecialistGroup:
    """All specialists of one seed, each in a folder of its own."""

    generalist: KeptModel
    n_subsets: int
    size: int
    settings: SpecialistsConfig

    @property
    def seed(self) -> int:
        return self.generalist.lesson.seed

    @property
    def folder(self) -> Path:
        return self.generalist.models / f"specialists-{self.n_subsets}-seed-{self.seed}"

    def ensure(self) -> None:
        """Train those that do not stand."""
        network = self.generalist.network()
        learned = self._log_probs(network, "train")
        for number, subset in enumerate(self._subsets(learned)):

            def train(folder: Path, subset: Sequence[int] = subset) -> None:
                self._train(folder, network, torch.tensor(sorted(subset)), learned)

            ensure_result(self.folder_of(number), self._key(subset), train)

    def folder_of(self, number: int) -> Path:
        return self.folder / f"{number:03}"

    def folders(self) -> list[Path]:
        return [self.folder_of(number) for number in range(self.n_subsets)]

    def specialists(self) -> list[Specialist]:
        return [load_specialist(folder) for folder in self.folders()]

    def subsets(self) -> list[tuple[int, ...]]:
        """The classes of each specialist, the nearest to its centroid first."""
        return self._subsets(self._log_probs(self.generalist.network(), "train"))

    def log_probs(self, specialists: Sequence[Specialist]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the test rows, (n, C): of the generalist, and of all together."""
        inputs = self.generalist.data.dataset.test.inputs
        assert isinstance(inputs, Tensor)
        alone = self._log_probs(self.generalist.network(), "test")
        subsets = [specialist.subset for specialist in specialists]
        top = alone.argmax(1)
        active = torch.stack([torch.isin(top, subset) for subset in subsets], dim=1)
        members = [specialist.log_probs(inputs) for specialist in specialists]
        return alone, combine(alone, members, subsets, active).log_probs

    def _subsets(self, learned: Tensor) -> list[tuple[int, ...]]:
        seed = derive_seed(self.seed, "subsets")
        return nearest_subsets(learned, self.n_subsets, self.size, seed)

    def _log_probs(self, network: nn.Module, split: str) -> Tensor:
        """Log-probabilities (n, C) of the generalist at the temperature that validation fits."""
        dataset = self.generalist.data.dataset
        outputs = self.generalist.outputs("validation")
        temperature = fit_temperature(outputs, dataset.validation.labels)
        if split == "test":
            return tempered_log_softmax(self.generalist.outputs("test"), temperature)
        return network_predictions(network, dataset.splits[split].inputs, temperature).dense()

    def _key(self, subset: Sequence[int]) -> dict[str, object]:
        data = self.generalist.data
        config = {"settings": self.settings.model_dump(mode="json"), "subset": list(subset)}
        weights = sha256(self.generalist.folder / KEPT_WEIGHTS)
        return {
            "config": {**config, "seed": self.seed, **conditions(data)},
            "inputs": {"data": data.fingerprint, "generalist": weights},
        }

    def _train(self, folder: Path, network: nn.Module, subset: Tensor, learned: Tensor) -> None:
        data, spec = self.generalist.data, self.generalist.lesson.spec
        dataset = data.dataset
        with cpu_seconds_kept(folder):
            specialist = train_specialist(
                specialise(network, dataset.n_classes, subset),
                subset,
                dataset.train,
                dataset.validation,
                DensePredictions(learned),
                self.settings,
                seed=derive_seed(self.seed, folder.name),
                hardware=hardware_of(data),
                folder=folder,
                augment=self.generalist.lesson.change(),
                description=f"specialist {folder.name}",
            )
            described = replace(spec, n_outputs=len(subset) + 1)
            save_specialist(specialist, described, (), folder)
