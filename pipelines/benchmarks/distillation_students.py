"""One student of the comparison: prepared, trained by its method, and kept in a folder of its own.

What comes before the first step (asking a teacher about all inputs, writing a store) is apart from
the training, so that the time of a step can be measured without it.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from specialists.classifier import TrainedClassifier
from specialists.datasets import Split
from specialists.distillation import (
    JoinedTeachers,
    NamedTeacher,
    OnlineTeacher,
    ReplayedViews,
    Scheme,
    SchemeData,
    SparseTargets,
    Teacher,
    born_again,
    distil,
    read_draws,
    read_terms,
    read_top,
    teacher_blocks,
    write_draws,
    write_top,
)
from specialists.files import read_array, read_json, write_array
from specialists.networks import build, inference_flops
from specialists.predictions import Predictions, StoredPredictions, concatenated, write_shards
from specialists.probability import MAX_NLL
from specialists.runtime import derive_seed, seed_everything
from specialists.training import TrainingCost

from ..reproduce.kept_training import KEPT_RESULT, KeptModel, hardware_of
from ..soft_targets import BYTES_OF_HALF
from .distillation_methods import DRAWS, N_TEACHERS, N_VIEWS, TOP, Method
from .measured import Measured

COST_ROWS = 64
GENERATIONS = PEERS = 2
NLL = "test.nll.npy"
Builder = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Prepared:
    """A method whose teachers have said what they say before training.

    Parameters
    ----------
    method : Method
    data : SchemeData
    teacher : Teacher or SparseTargets, optional
    network : nn.Module, optional
        Whose layers terms look at.
    answer_flops : float
        Operations of asking the teachers about one input; 0 where the training counts them itself.
    n_asked : int
        Number of inputs that the teachers were asked about before the training.
    n_bytes : int
        Bytes that a store keeps of an input, in all its views.
    """

    method: Method
    data: SchemeData
    teacher: Teacher | SparseTargets | None = None
    network: nn.Module | None = None
    answer_flops: float = 0.0
    n_asked: int = 0
    n_bytes: int = 0

    def train(
        self, building: Builder, data: SchemeData | None = None
    ) -> tuple[TrainedClassifier, TrainingCost]:
        """The student, and what all trainings that it needed cost, its teachers' answers too.

        ``building`` gives its network, or another one like it, by a number; ``data`` are those that
        it was prepared for, for another length of training.
        """
        data, method = data or self.data, self.method
        terms = read_terms(method.terms)
        if method.scheme == "born_again":
            return _last_generation(born_again(building, None, data, GENERATIONS, terms), data)
        if method.scheme != "offline":
            scheme = Scheme(method.scheme, PEERS, method.exits)
            student = scheme.train(building, None, data, terms=terms)
            return student, student.cost
        student = distil(
            building(0),
            self.teacher,
            temperature=method.temperature,
            alpha=method.alpha,
            terms=terms,
            teacher_network=self.network,
            **vars(data),
        )
        n_asked = student.cost.examples if method.teaching == "online" else self.n_asked
        return student, student.cost + TrainingCost(flops=n_asked * self.answer_flops)


def prepare(
    method: Method,
    networks: Sequence[nn.Module],
    data: SchemeData,
    class_names: Sequence[str],
    store: Path,
) -> Prepared:
    """Ask the teachers of a method what is asked before training; a ``store`` takes the answers."""
    teaching, inputs = method.teaching, data.train.inputs
    if teaching == "none":
        return Prepared(method, data)
    if teaching == "network":
        return Prepared(method, data, network=networks[0])
    sample = inputs[torch.arange(min(COST_ROWS, len(inputs)))]
    flops = sum(inference_flops(network, sample) for network in networks)
    asked = _one_teacher(networks, class_names, method)
    if teaching == "online":
        return Prepared(method, data, asked, answer_flops=flops)
    shown = [inputs]
    if teaching == "views":
        assert data.augment is not None
        views = ReplayedViews(data.augment, data.seed, N_VIEWS)
        data = dataclasses.replace(data, augment=views)
        shown = [views.view(inputs, i) for i in range(N_VIEWS)]
    blocks = itertools.chain.from_iterable(teacher_blocks(asked, each) for each in shown)
    kept = _stored(method, blocks, len(class_names), data.seed, store)
    n_asked = len(shown) * len(inputs)
    return Prepared(method, data, kept, None, flops, n_asked, len(shown) * _bytes_per_row(kept))


def _one_teacher(
    networks: Sequence[nn.Module], class_names: Sequence[str], method: Method
) -> OnlineTeacher:
    if len(networks) == 1:
        return networks[0]
    named = [NamedTeacher(each, name=f"teacher {i}") for i, each in enumerate(networks)]
    return JoinedTeachers(named, class_names, method.mean)


def _stored(
    method: Method, blocks: Iterable[Predictions], n_classes: int, seed: int, store: Path
) -> Predictions | SparseTargets:
    """Predictions of all inputs, in memory or as a store keeps them."""
    t = method.temperature
    if method.teaching in ("dense", "views"):
        write_shards(store, blocks, n_classes, {})
        return StoredPredictions(store)
    if method.teaching == "top":
        write_top(store, blocks, [t], TOP)
        return read_top(store, t)
    if method.teaching == "sampled":
        write_draws(store, blocks, [t], DRAWS, seed)
        return read_draws(store, t)
    return concatenated(list(blocks))


def _bytes_per_row(kept: Predictions | SparseTargets) -> int:
    if isinstance(kept, SparseTargets):
        return kept.bytes_per_example
    return BYTES_OF_HALF * kept.n_classes if isinstance(kept, StoredPredictions) else 0


def _last_generation(
    generations: Sequence[TrainedClassifier], data: SchemeData
) -> tuple[TrainedClassifier, TrainingCost]:
    """The last one, with the cost of all; each but the last was asked by the next one."""
    cost = TrainingCost()
    for i, generation in enumerate(generations):
        cost += generation.cost
        if i < len(generations) - 1:
            n_asked = len(data.train) if data.augment is None else generation.cost.examples
            cost += TrainingCost(flops=n_asked * generation.inference_flops)
    return generations[-1], cost


@dataclass(frozen=True)
class TaughtStudent(KeptModel):
    """A student of a method, in a folder below ``models``; the lesson names its teachers."""

    method: Method = field(kw_only=True)

    @property
    def seed(self) -> int:
        """Every method starts from the same weights and sees the same order of rows."""
        return derive_seed(self.lesson.seed, "student")

    def key(self) -> dict[str, object]:
        known = super().key()
        constants = (N_TEACHERS, N_VIEWS, TOP, DRAWS, GENERATIONS)
        return {**known, "method": self.method.to_dict(), "constants": list(constants)}

    def taught(
        self, network: nn.Module, train: Split, folder: Path
    ) -> tuple[nn.Module, dict[str, float]]:
        student, cost, n_bytes = self.distilled(network, train, folder)
        test = self.data.dataset.test
        log_probs = student.predictions(test.inputs).of_labels(test.labels).double()
        write_array(folder / NLL, (-log_probs).clamp_max(MAX_NLL).float().numpy())
        extra = {"bytes_per_example": n_bytes}
        return student.network, {**student.to_dict(), **cost.to_dict(), **extra}

    def distilled(
        self, network: nn.Module, train: Split, folder: Path
    ) -> tuple[TrainedClassifier, TrainingCost, int]:
        """The student of a network, what it cost, and the bytes a row of a store."""
        data = self.scheme_data(train, folder)
        names = self.data.dataset.class_names
        with tempfile.TemporaryDirectory() as place:
            store = Path(place, "store")
            prepared = prepare(self.method, self.teacher_networks(), data, names, store)
            return *prepared.train(self.building(network)), prepared.n_bytes

    def scheme_data(self, train: Split, folder: Path | None = None) -> SchemeData:
        """What it is trained on, and how."""
        lesson = self.lesson
        return SchemeData(
            train,
            self.data.dataset.validation,
            lesson.recipe,
            self.seed,
            hardware_of(self.data),
            folder,
            lesson.change(),
            description=lesson.name,
        )

    def building(self, network: nn.Module) -> Builder:
        """Its network as number 0, and others like it."""

        def another(number: int) -> nn.Module:
            if number == 0:
                return network
            seed_everything(derive_seed(self.seed, "network", number))
            return build(self.lesson.spec)

        return another

    def measured(self) -> Measured:
        """What it did on the test rows, from its files."""
        result, groups = read_json(self.folder / KEPT_RESULT), self.data.dataset.test.groups
        n_bytes, about = result["bytes_per_example"], self.method.setting
        return Measured(
            self.right().astype(float),
            read_array(self.folder / NLL).astype(float),
            "the same for every seed",
            TrainingCost.from_dict(result),
            result["inference_flops"],
            int(result["parameters"]),
            f"{about}, {n_bytes:,} bytes a row" if n_bytes else about,
            None if groups is None else groups.numpy(),
        )


def folder_name(name: str) -> str:
    """The name of a method in lower case, with hyphens for all that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", "-", name)
