"""Who teaches whom, and when?

    offline      a teacher that is trained already teaches a student: ``distil``
    born again   each generation teaches the next one of the same network
    mutual       peers are trained together, and each teaches all others
    exits        a network's outputs teach classifiers that sit on its earlier layers

The last two need no teacher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from torch import nn

from specialists.classifier import TrainedClassifier, calibrate_classifier
from specialists.config import Recipe, SchemeName, StudentConfig
from specialists.datasets.base import Split
from specialists.distillation.stores import SparseTargets
from specialists.distillation.student_training import distil, student_examples
from specialists.distillation.taught_together import (
    LessonLoss,
    Peers,
    TaughtTogether,
    WithExits,
)
from specialists.distillation.teachers import Teacher, teacher_predictions
from specialists.distillation.terms.response import Labels, SoftTargets
from specialists.distillation.terms.term import NETWORK, RAW_LOGITS, Term
from specialists.errors import InputError
from specialists.runtime import Hardware
from specialists.training import FitResult, Trainer, ValidationLoss
from specialists.training.examples import Augmentation

FEWEST_PEERS = 2


@dataclass(frozen=True)
class SchemeData:
    """What students of a scheme are trained on, and how; as ``distil`` takes it."""

    train: Split
    validation: Split
    recipe: Recipe
    seed: int = 0
    hardware: Hardware | None = None
    folder: Path | None = None
    augment: Augmentation | None = None
    n_examples: int | None = None
    description: str = "student"

    def trainer(self, network: TaughtTogether, loss: LessonLoss) -> Trainer:
        """The training of networks that teach one another."""
        rows = self.validation
        return Trainer(
            network,
            student_examples(self.train, None, self.augment),
            loss,
            ValidationLoss(rows.inputs, rows.labels, counts=rows.weights),
            self.recipe,
            seed=self.seed,
            hardware=self.hardware or Hardware(),
            folder=self.folder,
            n_examples=self.n_examples,
            description=self.description,
        )


def usual_terms(temperature: float = 1.0, alpha: float = 0.7, smoothing: float = 0.0) -> list[Term]:
    """The terms of METHOD.md (27): soft targets with the weight alpha, and labels with the rest."""
    terms: list[Term] = []
    if alpha > 0:
        terms.append(SoftTargets(temperature=temperature, weight=alpha))
    if alpha < 1:
        terms.append(Labels(smoothing=smoothing, weight=1 - alpha))
    return terms


def born_again(
    build: Callable[[int], nn.Module],
    teacher: Teacher | SparseTargets | None,
    data: SchemeData,
    n_generations: int = 3,
    terms: Sequence[Term] = (),
) -> list[TrainedClassifier]:
    """Train generation after generation, each of which learns from the one before.

    Parameters
    ----------
    build : callable
        Gives the network of a generation, from its number.
    teacher : Teacher or SparseTargets, optional
        Of the first generation; None: it learns the labels alone.
    data : SchemeData
        The seed of a generation is the seed plus its number. In the folder are what the last one
        measures, and a folder for each of the others.
    n_generations : int
        At least 1.
    terms : sequence of Term
        The objective of every generation that has a teacher; (): that of :func:`usual_terms`.

    Raises
    ------
    InputError
        If there is no generation, or as :func:`distil` does.

    Source: Furlanello et al. 2018, "Born-Again Neural Networks", section 3.1.
    """
    if n_generations < 1:
        raise InputError("generations follow one another", got=n_generations, expected="at least 1")
    asked = data.augment is not None or any(term.needs & {NETWORK, RAW_LOGITS} for term in terms)
    generations: list[TrainedClassifier] = []
    for generation in range(n_generations):
        folder = data.folder
        if folder is not None and generation < n_generations - 1:
            folder = folder / f"generation-{generation}"
        changes = {
            "seed": data.seed + generation,
            "folder": folder,
            "description": f"{data.description}, generation {generation}",
        }
        student = distil(
            build(generation),
            teacher,
            terms=(terms or usual_terms()) if teacher is not None else (),
            **{**vars(data), **changes},
        )
        generations.append(student)
        teacher = student.network  # is asked about augmented inputs anew, about others once
        if not asked and generation < n_generations - 1:
            teacher = teacher_predictions(student.network, data.train.inputs)
    return generations


def mutual(
    peers: Sequence[nn.Module], data: SchemeData, terms: Sequence[Term] = ()
) -> list[TrainedClassifier]:
    """Train networks together, each by the mean of its objectives with the others as teachers.

    They take a step at the same time, where the paper lets them take turns. The best epoch is that
    of the first peer, which is the student; the cost of each is that of all.

    Parameters
    ----------
    peers : sequence of at least two nn.Modules
        Trained in place. They should not start from the same weights.
    data : SchemeData
    terms : sequence of Term
        (): soft targets of T = 1 and labels, with the weight 1 each, as in the paper.

    Raises
    ------
    InputError
        If there are fewer than two peers, or a term needs layers.

    Source: Zhang et al. 2018, "Deep Mutual Learning", equations 4 to 8.
    """
    if (n_peers := len(set(map(id, peers)))) < max(FEWEST_PEERS, len(peers)):
        got = f"{len(peers)} networks, {n_peers} of them different"
        raise InputError("peers teach one another", got=got, expected="at least two, all different")
    together = Peers(peers)
    result = data.trainer(together, LessonLoss(together, terms or (SoftTargets(), Labels()))).fit()
    others = [_with_own_scores(peer, data.validation, result) for peer in peers[1:]]
    return [calibrate_classifier(peers[0].eval(), data.validation, result), *others]


def with_exits(
    network: nn.Module, layers: Sequence[str], data: SchemeData, terms: Sequence[Term] = ()
) -> TrainedClassifier:
    """Train a network whose outputs teach linear classifiers on some of its layers.

    The network itself learns the labels. What its lower layers learn by way of the exits stays; the
    exits are thrown away. An exit is a linear map of a layer's mean over all places. The paper's
    have convolutions of their own, and learn a hint from the last features.

    Parameters
    ----------
    network : nn.Module
        Trained in place.
    layers : sequence of str
        Paths of the layers on which exits sit.
    data : SchemeData
    terms : sequence of Term
        The objective of each exit; (): that of :func:`usual_terms`.

    Raises
    ------
    InputError
        If no layer is named, there is none at a path, or a term needs layers.

    Source: Zhang et al. 2019, "Be Your Own Teacher", section 3.2.
    """
    together = WithExits(network, layers, data.train.inputs)
    loss = LessonLoss(together, terms or usual_terms(), data.recipe.label_smoothing or 0.0)
    result = data.trainer(together, loss).fit()
    return calibrate_classifier(network.eval(), data.validation, result)


@dataclass(frozen=True)
class Scheme:
    """Who teaches a student.

    Parameters
    ----------
    name : {"offline", "born_again", "mutual", "exits"}
    n_taught : int
        Generations or peers.
    exits : tuple of str
        See :func:`with_exits`.
    """

    name: str = "offline"
    n_taught: int = 2
    exits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in get_args(SchemeName):
            expected = ", ".join(get_args(SchemeName))
            raise InputError("no such scheme", got=self.name, expected=expected)

    @classmethod
    def from_config(cls, settings: StudentConfig) -> Scheme:
        return cls(settings.scheme, settings.n_taught, settings.exits)

    def to_dict(self) -> dict[str, object]:
        """For JSON: what it is and what it reads; nothing of the offline one."""
        if self.name == "offline":
            return {}
        more = {"exits": list(self.exits)} if self.name == "exits" else {"n_taught": self.n_taught}
        return {"scheme": self.name, **more}

    @property
    def has_teacher(self) -> bool:
        """Whether anybody teaches who is trained before."""
        return self.name in ("offline", "born_again")

    def train(
        self,
        build: Callable[[int], nn.Module],
        teacher: Teacher | SparseTargets | None,
        data: SchemeData,
        *,
        terms: Sequence[Term] = (),
        temperature: float = 1.0,
        alpha: float = 0.7,
        teacher_network: nn.Module | None = None,
    ) -> TrainedClassifier:
        """The student: the last generation, or the first peer.

        ``build`` gives the student's network, or another one like it, by its number. The rest is as
        for ``distil``. Without a teacher a student that is taught offline learns labels alone.
        """
        objective = terms or usual_terms(temperature, alpha, data.recipe.label_smoothing or 0.0)
        if self.name == "born_again":
            return born_again(build, teacher, data, self.n_taught, objective)[-1]
        if self.name == "mutual":
            return mutual([build(i) for i in range(self.n_taught)], data, objective)[0]
        if self.name == "exits":
            return with_exits(build(0), self.exits, data, objective)
        how = {"temperature": temperature, "alpha": alpha, "teacher_network": teacher_network}
        given = terms if teacher is not None else ()
        return distil(build(0), teacher, **vars(data), **how, terms=given)


OFFLINE = Scheme()


def _with_own_scores(network: nn.Module, validation: Split, all_of: FitResult) -> TrainedClassifier:
    classifier = calibrate_classifier(network.eval(), validation)
    return dataclasses.replace(classifier, cost=all_of.cost)
