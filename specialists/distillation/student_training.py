"""Soft targets in, one compact student out.

A student learns from a teacher's soft targets together with the true labels (METHOD.md (27)), or
from the labels alone, and is calibrated on validation data. Teacher and student are any networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from specialists.classifier import TrainedClassifier, calibrate_classifier, hard_label_loss
from specialists.config import Recipe
from specialists.datasets.base import Split
from specialists.distillation.by_terms import objective_loss
from specialists.distillation.replayed_views import ReplayedExamples, ReplayedViews
from specialists.distillation.stores import SparseTargets
from specialists.distillation.teachers import TargetRows, TaughtExamples, Teacher, online
from specialists.distillation.terms.term import Term
from specialists.errors import InputError
from specialists.losses import DistillationLoss, relative_weights
from specialists.predictions import Predictions, as_predictions
from specialists.runtime import Hardware
from specialists.training import Loss, TensorExamples, Trainer, ValidationLoss
from specialists.training.examples import Augmentation, IndexedRows


def distil(
    network: nn.Module,
    teacher: Teacher | SparseTargets | None,
    train: Split,
    validation: Split,
    recipe: Recipe,
    *,
    temperature: float = 1.0,
    alpha: float = 0.7,
    seed: int = 0,
    hardware: Hardware | None = None,
    folder: Path | None = None,
    augment: Augmentation | None = None,
    n_examples: int | None = None,
    description: str = "student",
    terms: Sequence[Term] = (),
    teacher_network: nn.Module | None = None,
) -> TrainedClassifier:
    """Train a student on a teacher's soft targets and the labels, and calibrate it.

    The loss is alpha T^2 KL(softmax(t / T) || softmax(z / T)) + (1 - alpha) CE(z, y), or the sum of
    ``terms`` (:mod:`specialists.distillation.terms`), which have settings of their own.

    Parameters
    ----------
    network : nn.Module
        The student, with the weights that it starts from; it is trained in place.
    teacher : Predictions, Tensor, SparseTargets, callable or nn.Module, optional
        Predictions (or log-probabilities [n, C]) of the training inputs, see
        :func:`teacher_predictions`; what a store keeps of them
        (:mod:`specialists.distillation.stores`); or a network, or a function from inputs to
        predictions, which is asked about every batch as the student sees it. None: the student
        learns from the labels alone.
    train, validation : Split
        Beside a teacher, rows whose label is ``specialists.losses.UNLABELLED`` have no label.
    recipe : Recipe
        With epochs, batch size and learning rate.
    temperature, alpha : float
        T > 0, and the weight of the soft targets in [0, 1].
    seed : int
    hardware : Hardware, optional
    folder : Path, optional
        Receives the training's measurements and checkpoint, from which it goes on; None: none.
    augment : callable, optional
        Changes batches of training inputs. A :class:`ReplayedViews`: the predictions are of its
        views, and the student sees these.
    n_examples : int, optional
        Examples to train on, instead of the recipe's epochs.
    description : str
        Of the progress bar.
    terms : sequence of Term
        The objective; temperature, alpha and label smoothing then count for nothing. (): the loss
        above.
    teacher_network : nn.Module, optional
        Whose layers terms look at; None: the teacher, if it is a network.

    Raises
    ------
    InputError
        If there are not as many targets as training inputs, or they are of another temperature; if
        a term needs what there is not, or looks at layers that do not fit.
    """
    trained: nn.Module = network
    if terms:
        prepared = objective_loss(network, terms, teacher, teacher_network, train.inputs)
        trained, loss, teacher = prepared
    else:
        loss = _loss(teacher, temperature, alpha, recipe)
    trainer = Trainer(
        trained,
        student_examples(train, teacher, augment),
        loss,
        ValidationLoss(validation.inputs, validation.labels, counts=validation.weights),
        recipe,
        seed=seed,
        folder=folder,
        hardware=hardware or Hardware(),
        n_examples=n_examples,
        description=description,
    )
    return calibrate_classifier(network, validation, trainer.fit())


def _loss(
    teacher: Teacher | SparseTargets | None, temperature: float, alpha: float, recipe: Recipe
) -> Loss:
    if teacher is None:
        return hard_label_loss(recipe)
    smoothing = recipe.label_smoothing or 0.0
    if not isinstance(teacher, SparseTargets):
        return DistillationLoss(temperature, alpha, smoothing)
    if teacher.temperature != temperature:
        raise InputError(
            "stored soft targets are of another temperature",
            got=f"temperature {temperature!r}",
            expected=f"{teacher.temperature!r}, at which they were made",
        )
    return teacher.loss(temperature, alpha, smoothing)


def student_examples(
    train: Split, teacher: Teacher | SparseTargets | None, augment: Augmentation | None = None
) -> TensorExamples | TaughtExamples | ReplayedExamples:
    """Training batches of (soft target, label), or of labels alone; weights where there are any."""
    labels = (train.labels, *relative_weights(train.weights))
    labelled = TensorExamples(train.inputs, labels, augment)
    if teacher is None:
        return labelled
    if not isinstance(teacher, Predictions | Tensor | SparseTargets):
        return TaughtExamples(labelled, online(teacher))
    n_views = augment.n_views if isinstance(augment, ReplayedViews) else 1
    if len(teacher) != n_views * len(train):
        views = f" in {n_views} views" * (n_views > 1)
        raise InputError(
            "a student needs a teacher's prediction for each of its training inputs",
            got=f"{len(teacher):,} predictions for {len(train):,} inputs{views}",
            expected="one row of log-probabilities an input, in the same order",
        )
    if isinstance(teacher, SparseTargets):
        soft: tuple[IndexedRows, ...] = teacher.parts
    else:
        soft = (TargetRows(as_predictions(teacher)),)
    if isinstance(augment, ReplayedViews):
        return ReplayedExamples(train.inputs, augment, soft, labels)
    return TensorExamples(train.inputs, (*soft, *labels), augment)
