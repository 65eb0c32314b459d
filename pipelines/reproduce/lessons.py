"""What one network learns, from whom, and on which rows: plain data that name a training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from specialists.combination import arithmetic_mean, geometric_mean
from specialists.config import Recipe
from specialists.datasets import Inputs
from specialists.datasets.augmentation import drop_features, random_affine, shift_pixels
from specialists.losses import CrossEntropy, DistillationLoss
from specialists.networks import NetworkSpec
from specialists.training import Loss
from specialists.training.examples import Augmentation

from .logit_matching import MatchedLogits

Mean = Literal["arithmetic", "geometric"]
CHANGES: Mapping[str, Callable[..., Inputs]]
CHANGES = {"shifts": shift_pixels, "affine": random_affine, "features": drop_features}
MEANS: Mapping[Mean, Callable[[list[Tensor]], Tensor]]
MEANS = {"arithmetic": arithmetic_mean, "geometric": geometric_mean}


@dataclass(frozen=True)
class Lesson:
    """What a network learns.

    Parameters
    ----------
    name : str
        Its folder.
    spec : NetworkSpec
    recipe : Recipe
    seed : int
        Of first weights, order, augmentation and dropout, and of the rows of a share.
    augment : str, optional
        One of ``CHANGES``; None: inputs stay as they are.
    teachers : tuple of Lesson
        Whose networks teach. (): nobody, the network learns the labels alone.
    mean : {"arithmetic", "geometric"}
        How several teachers are averaged: their probabilities, or their log-probabilities.
    online : bool
        Whether teachers are asked about every batch as it is augmented.
    temperature, alpha : float
        Of the distillation loss. At an infinite temperature logits are matched, and labels count
        for nothing.
    missing : tuple of int
        Classes that the training rows lack.
    share : float
        Fraction of the training rows of each class, in (0, 1]. An epoch reads them several times,
        see ``passes``.
    keep_outputs, keep_weights : bool
        Whether outputs for the held-out rows, and the network, are kept.
    """

    name: str
    spec: NetworkSpec
    recipe: Recipe
    seed: int
    augment: str | None = None
    teachers: tuple[Lesson, ...] = ()
    mean: Mean = "arithmetic"
    online: bool = False
    temperature: float = 1.0
    alpha: float = 1.0
    missing: tuple[int, ...] = ()
    share: float = 1.0
    keep_outputs: bool = False
    keep_weights: bool = False

    @property
    def length(self) -> str:
        """For how long it learns, in words."""
        n_epochs = self.recipe.epochs or 0
        if self.share == 1:
            return f"{n_epochs} epochs"
        return f"{n_epochs * self.passes:,} passes over {self.share:.0%} of the rows of each class"

    @property
    def passes(self) -> int:
        """How often an epoch reads each row: 1 / sqrt(share), rounded.

        Fewer rows are read more often, but an epoch still takes fewer steps. If it read them once,
        it would take less time than its validation.
        """
        return round(1 / math.sqrt(self.share))

    def settings(self) -> dict[str, object]:
        """All but the name, JSON-able."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)[1:]}
        return {
            **values,
            "spec": self.spec.to_dict(),
            "recipe": self.recipe.model_dump(mode="json"),
            "teachers": [teacher.name for teacher in self.teachers],
            "temperature": str(self.temperature),
        }

    def loss(self) -> Loss:
        """Cross-entropy without a teacher, else the distillation loss or that of matched logits."""
        if not self.teachers:
            return CrossEntropy()
        if math.isinf(self.temperature):
            return MatchedLogits()
        return DistillationLoss(self.temperature, self.alpha)

    def change(self) -> Augmentation | None:
        """The augmentation of its batches; None without one."""
        return None if self.augment is None else CHANGES[self.augment]
