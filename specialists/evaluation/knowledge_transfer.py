"""How much of what a teacher knows do its students know, and how is it measured?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.distillation.teachers import Teacher, teacher_predictions
from specialists.errors import InputError
from specialists.evaluation.adversarial import adversarial_inputs
from specialists.evaluation.repeated_errors import chance_of_repeating, mean_kl, mean_or_none
from specialists.evaluation.scores import Scores, expected_calibration_error, score_model
from specialists.evaluation.transferred import ClassTransfer, ModelTransfer, Transfer
from specialists.networks import head_and_trunk
from specialists.predictions import ModelOutputs, Predictions, as_predictions, predict_outputs
from specialists.probability import check_labels
from specialists.runtime import derive_seed
from specialists.training.examples import Augmentation

N_STEPS = 10
PROBE_ITERATIONS = 100


@runtime_checkable
class Model(Protocol):
    """As :func:`specialists.load`, ``distil`` and ``train_classifier`` give them."""

    @property
    def predictions(self) -> Callable[[Inputs], Predictions]: ...

    @property
    def network(self) -> nn.Module | None: ...


@dataclass(frozen=True)
class ProbedRows:
    """Rows on which a linear probe is fitted.

    Parameters
    ----------
    inputs : Tensor or Ragged of m rows
    labels : int64 Tensor of shape (m,)
    test_labels : int64 Tensor of shape (n,), optional
        Of the rows that are measured, if these are other labels than those of the models.
    """

    inputs: Inputs
    labels: Tensor
    test_labels: Tensor | None = None


@dataclass(frozen=True)
class _Measured:
    """A model's predictions of the rows, and how to have others; None where there is no way."""

    name: str
    predictions: Predictions
    scores: Scores
    ask: Callable[[Inputs], Predictions] | None
    network: nn.Module | None


def knowledge_transfer(
    teacher: Teacher | Model,
    students: Mapping[str, Teacher | Model],
    labels: Tensor,
    inputs: Inputs | None = None,
    *,
    class_names: Sequence[str] | None = None,
    given_labels: Tensor | None = None,
    augment: Augmentation | None = None,
    n_views: int = 2,
    epsilon: float | None = None,
    probe: ProbedRows | None = None,
    seed: int = 0,
) -> Transfer:
    """Measure what got across from a teacher to its students, on rows that none was trained on.

    Parameters
    ----------
    teacher : Predictions, Tensor, callable, nn.Module, or a model
        Predictions or log-probabilities [n, C] of the rows; who gives them for inputs; a network,
        which gives logits; or what :func:`specialists.load` returns. Of a network alone gradients
        and features can be had.
    students : mapping from name to the same
        For instance a student, and one of hard labels beside it.
    labels : int64 Tensor of shape (n,)
        The right classes.
    inputs : Tensor or Ragged of n rows, optional
        Encoded. Needed unless there is nothing but predictions.
    class_names : sequence of str, optional
    given_labels : int64 Tensor of shape (n,), optional
        Labels as they were given to the models, some of them wrong; ``labels`` are then the clean
        ones, and the rows should be those of the training.
    augment : callable, optional
        Maps inputs and a generator to changed inputs; all models see the same ``n_views`` views.
    epsilon : float, optional
        Largest adversarial change of a number, in the units of the inputs.
    probe : ProbedRows, optional
    seed : int
        Of views and adversarial starts.

    Raises
    ------
    InputError
        If rows, labels and predictions do not fit one another, or something is asked for that
        such inputs do not allow.
    """
    models = [_measured("teacher", teacher, labels, inputs)]
    models += [_measured(name, model, labels, inputs) for name, model in students.items()]
    first, truth = models[0], labels.numpy()
    names = _names(class_names, first.predictions.n_classes)
    wrong = None if given_labels is None else _given(given_labels, first) != labels
    views = [] if augment is None else _views(inputs, augment, n_views, seed)
    rows = [
        ModelTransfer(
            name=model.name,
            top1=float(model.scores.correct.mean()),
            nll=float(model.scores.nll.mean()),
            ece=expected_calibration_error(model.scores.confidence, model.scores.correct),
            **({} if model is first else _against(first, model, truth)),
            **({} if wrong is None else _where_labels_are_wrong(first, model, given_labels, wrong)),
            **_between_views(model, views),
            **({} if epsilon is None else _after_steps(model, inputs, labels, epsilon, seed)),
            **({} if probe is None else {"probe": _probed(model, inputs, labels, probe)}),
        )
        for model in models
    ]
    return Transfer(
        n_rows=len(labels),
        n_errors=int((~first.scores.correct).sum()),
        n_mislabelled=0 if wrong is None else int(wrong.sum()),
        models=tuple(rows),
        classes=_by_class(models, truth, names),
        notes=_notes(len(views), epsilon, probe),
    )


def _measured(
    name: str, model: Teacher | Model, labels: Tensor, inputs: Inputs | None
) -> _Measured:
    network = model if isinstance(model, nn.Module) else getattr(model, "network", None)
    ask: Any = None
    if isinstance(model, Predictions | Tensor):
        predictions = as_predictions(model)
    else:
        ask = model.predictions if isinstance(model, Model) else model
        if inputs is None:
            raise InputError(f"{name} is a model, so it needs inputs", got="inputs=None")
        predictions = _asked(ask, inputs)
    check_labels(labels, len(predictions), predictions.n_classes)
    outputs = ModelOutputs(name, predictions, 0, 0.0, 0, 0.0)
    scores = score_model(outputs, labels.numpy(), None)
    return _Measured(name, predictions, scores, ask and (lambda x: _asked(ask, x)), network)


def _names(names: Sequence[str] | None, n_classes: int) -> Sequence[str]:
    names = [f"class {c}" for c in range(n_classes)] if names is None else names
    if len(names) != n_classes:
        raise InputError("not a name for each class", got=len(names), expected=n_classes)
    return names


def _asked(model: Any, inputs: Inputs) -> Predictions:
    return as_predictions(teacher_predictions(model, inputs))


def _given(labels: Tensor, model: _Measured) -> Tensor:
    return check_labels(labels, len(model.predictions), model.predictions.n_classes)


def _against(teacher: _Measured, student: _Measured, labels: np.ndarray) -> dict[str, float | None]:
    """Agreement, KL, and errors that both make, or would by chance."""
    if student.predictions.n_classes != teacher.predictions.n_classes:
        raise InputError(
            f"teacher and {student.name} have different classes",
            got=f"{teacher.predictions.n_classes} and {student.predictions.n_classes}",
        )
    ours, theirs = student.scores.prediction, teacher.scores.prediction
    errors = ~teacher.scores.correct
    chance = chance_of_repeating(ours, theirs, labels)[errors]
    chance = chance[~np.isnan(chance)]
    return {
        "agreement": float((ours == theirs).mean()),
        "kl": mean_kl(teacher.predictions, student.predictions),
        "repeated": mean_or_none((ours == theirs)[errors]),
        "repeated_by_chance": mean_or_none(chance),
    }


def _where_labels_are_wrong(
    teacher: _Measured, model: _Measured, given: Tensor | None, wrong: Tensor
) -> dict[str, float | None]:
    assert given is not None
    rows, answers = wrong.numpy(), model.scores.prediction
    as_teacher = (
        None if model is teacher else mean_or_none((answers == teacher.scores.prediction)[rows])
    )
    taken = mean_or_none((answers == given.numpy())[rows])
    return {"mislabelled_agreement": as_teacher, "mislabelled_taken": taken}


def _views(inputs: Inputs | None, augment: Augmentation, n_views: int, seed: int) -> list[Inputs]:
    if inputs is None:
        raise InputError("views are made of inputs", got="inputs=None")
    seeds = (derive_seed(seed, "view", i) for i in range(n_views))
    return [augment(inputs, torch.Generator().manual_seed(each)) for each in seeds]


def _between_views(model: _Measured, views: Sequence[Inputs]) -> dict[str, float]:
    if model.ask is None or not views:
        return {}
    found = [model.ask(view) for view in views]
    answers = torch.from_numpy(model.scores.prediction)
    changed = [float((view.predicted() != answers).double().mean()) for view in found]
    kl = [mean_kl(model.predictions, view) for view in found]
    return {"changed": sum(changed) / len(views), "kl_views": sum(kl) / len(views)}


def _after_steps(
    model: _Measured, inputs: Inputs | None, labels: Tensor, epsilon: float, seed: int
) -> dict[str, float]:
    """Top-1 after FGSM and PGD; nothing of a model without gradients."""
    if model.network is None or inputs is None:
        return {}
    top1 = {}
    for name, n_steps in (("fgsm", 1), ("pgd", N_STEPS)):
        moved = adversarial_inputs(
            model.network, inputs, labels, epsilon, n_steps=n_steps, seed=seed
        )
        answers = predict_outputs(model.network, moved).argmax(1)
        top1[name] = float((answers == labels).double().mean())
    return top1


def _probed(
    model: _Measured, inputs: Inputs | None, labels: Tensor, probe: ProbedRows
) -> float | None:
    """Top-1 of a linear model of the features below the head; None of a model without them."""
    if model.network is None or inputs is None:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    trunk, _ = head_and_trunk(model.network, model.predictions.n_classes)
    fitted, tested = (
        predict_outputs(trunk, rows).flatten(1).numpy() for rows in (probe.inputs, inputs)
    )
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few iterations, and few rows a class
        linear.fit(fitted, probe.labels.numpy())
    truth = labels if probe.test_labels is None else probe.test_labels
    return float(linear.score(tested, truth.numpy()))


def _notes(n_views: int, epsilon: float | None, probe: ProbedRows | None) -> tuple[str, ...]:
    """How what was measured was measured."""
    notes = []
    if n_views:
        notes.append(f"augmentation: {n_views} views of each row, the same for all models")
    if epsilon is not None:
        notes.append(
            f"adversarial steps: every number changes by {epsilon:.3g} at most, along the model's "
            f"own gradient; PGD makes {N_STEPS} steps from a random start"
        )
    if probe is not None:
        n_rows = f"{len(probe.labels):,} other rows"
        notes.append(f"linear probe: fitted on the features below the head, of {n_rows}")
    return tuple(notes)


def _by_class(
    models: Sequence[_Measured], labels: np.ndarray, names: Sequence[str]
) -> tuple[ClassTransfer, ...]:
    """Right answers by class, of the classes that have rows."""
    counts = np.bincount(labels)
    right = [
        np.bincount(labels, weights=model.scores.correct, minlength=len(counts)).astype(int)
        for model in models
    ]
    students = [model.name for model in models[1:]]
    return tuple(
        ClassTransfer(
            names[c],
            int(counts[c]),
            int(right[0][c]),
            {name: int(of[c]) for name, of in zip(students, right[1:], strict=True)},
        )
        for c in counts.nonzero()[0].tolist()
    )
