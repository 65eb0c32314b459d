"""Lessons for data that are not the paper's: the network and recipe of their configuration."""

from __future__ import annotations

from specialists.config import Config, Recipe
from specialists.networks import generalist_spec

from .lessons import Lesson
from .reproduction import REGULARISED, Reproduction

AUGMENTED_AS = {"images": "affine", "features": "features"}
FEW_CLASSES = 20  # as digits have: there the paper's perceptrons are used


def is_like_mnist(work: Reproduction) -> bool:
    """Whether the data are pictures of few classes."""
    dataset = work.data.dataset
    return dataset.kind == "images" and dataset.n_classes <= FEW_CLASSES


def network_in_words(lesson: Lesson) -> str:
    """What is trained, and how long: "mlp of width 64, dropout 0.2, 30 epochs"."""
    spec = lesson.spec
    if spec.model == REGULARISED:
        kept = ", dropout and bounded weights" if "max_norm" in spec.options else ""
        return f"two layers of {spec.options['width']:,} ReLU units{kept}, {lesson.length}"
    return f"{spec.model} of width {spec.width:,}, dropout {spec.dropout:g}, {lesson.length}"


def resolved(work: Reproduction) -> Config:
    """The configuration with the defaults of its kind of input."""
    return work.data.config.resolve(work.data.dataset.kind)


def own_lesson(
    work: Reproduction, name: str, seed: int, n_epochs: int | None = None, width: int | None = None
) -> Lesson:
    """The generalist that the configuration describes, of another length or width if given."""
    settings = resolved(work)
    generalist = settings.generalist
    if width is not None:
        generalist = generalist.model_copy(update={"width": width, "widths": (width,)})
    values = {key: getattr(generalist, key) for key in Recipe.model_fields}
    if n_epochs is not None:
        values["epochs"] = n_epochs
    dataset = work.data.dataset
    return Lesson(
        name,
        generalist_spec(generalist, dataset.n_classes, work.data.spec_shape()),
        Recipe(**{**values, "patience": None}),
        seed,
        augment=AUGMENTED_AS[dataset.kind] if settings.data.augment else None,
    )
