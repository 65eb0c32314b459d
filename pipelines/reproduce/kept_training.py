"""One training that is kept in a folder of its own, and what it said about held-out rows.

A folder with a manifest holds a finished model: its result, its classes for the held-out rows, and
what is asked for beside them (outputs, weights). One without goes on from its checkpoint. A model
whose settings, data or teachers changed is trained again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from specialists.config.data import SOURCES
from specialists.datasets import Inputs, Split
from specialists.datasets.assembly import take
from specialists.distillation import labelled_rows, student_examples
from specialists.distillation.teachers import Teacher
from specialists.errors import DamagedError
from specialists.files import (
    read_array,
    read_json,
    read_tensors,
    sha256,
    write_array,
    write_json,
    write_tensors,
)
from specialists.networks import build
from specialists.predictions import predict_outputs
from specialists.runtime import (
    Hardware,
    autocast,
    derive_seed,
    resolve_precision,
    seed_everything,
)
from specialists.training import Trainer, ValidationLoss

from ..runs import ensure_result, stands
from .lessons import MEANS, Lesson, Mean
from .paper_data import PaperData, without_classes

KEPT_WEIGHTS, KEPT_RESULT, CPU_TIME = "weights.safetensors", "result.json", "timing-cpu.json"


@dataclass(frozen=True)
class KeptModel:
    """A lesson on some data, in a folder below ``models``."""

    models: Path
    data: PaperData
    lesson: Lesson

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.models / self.lesson.name

    def ensure(self) -> None:
        """Train it, unless it stands."""
        ensure_result(self.folder, self.key(), self.train)

    def stands(self) -> bool:
        """Whether it is trained, and nothing that it depends on has changed since."""
        if not all(self._by(each).stands() for each in self._teachers):
            return False
        return stands(self.folder, self.key())

    def key(self) -> dict[str, object]:
        """Everything that it depends on."""
        files = {each.name: self._by(each).folder / KEPT_WEIGHTS for each in self._teachers}
        teachers = {name: sha256(file) for name, file in files.items()}
        return {
            "config": {**self.lesson.settings(), **conditions(self.data)},
            "inputs": {"data": self.data.fingerprint, **teachers},
        }

    def train(self, folder: Path) -> None:
        """Train it and write its folder."""
        with cpu_seconds_kept(folder):
            lesson, dataset = self.lesson, self.data.dataset
            train = self.training_rows()
            seed_everything(self.seed)
            often = np.tile(np.arange(len(train)), lesson.passes)
            rows = train if lesson.passes == 1 else take(train, often)
            network, result = self.taught(build(lesson.spec), rows, folder)
            for name, split in (("validation", dataset.validation), ("test", dataset.test)):
                self._keep(predict_outputs(network, split.inputs), name, folder)
            if lesson.keep_weights:
                write_tensors(folder / KEPT_WEIGHTS, network.state_dict())
            write_json(folder / KEPT_RESULT, {**result, "rows": len(train)})

    @property
    def seed(self) -> int:
        """Decides first weights, the order of rows, augmentation and dropout."""
        return derive_seed(self.lesson.seed, self.lesson.name)

    def taught(
        self, network: nn.Module, train: Split, folder: Path
    ) -> tuple[nn.Module, dict[str, float]]:
        """Train a network from the weights that it has; returns it with its validation result."""
        lesson = self.lesson
        trainer = Trainer(
            network,
            student_examples(train, self._teacher(train), lesson.change()),
            lesson.loss(),
            self._judge(self.data.dataset.validation),
            lesson.recipe,
            seed=self.seed,
            hardware=hardware_of(self.data),
            folder=folder,
            description=lesson.name,
        )
        return network, trainer.fit().to_dict()

    def training_rows(self) -> Split:
        """The rows that it learns from: without missing classes, and a share of the rest."""
        train = without_classes(self.data.dataset.train, self.lesson.missing)
        if self.lesson.share == 1:
            return train
        seed = derive_seed(self.lesson.seed, "labelled")
        return take(train, labelled_rows(train.labels, self.lesson.share, seed).numpy())

    def network(self) -> nn.Module:
        """The trained network, in evaluation mode; the lesson must keep its weights."""
        network = build(self.lesson.spec)
        network.load_state_dict(read_tensors(self.folder / KEPT_WEIGHTS))
        return network.eval()

    def outputs(self, split: str) -> Tensor:
        """Logits of the "validation" or "test" rows, (n, C); the lesson must keep its outputs."""
        return torch.from_numpy(read_array(self.folder / f"{split}.outputs.npy", writable=True))

    def right(self, split: str = "test") -> np.ndarray:
        """Which rows of the "validation" or "test" split it has right, bool (n,)."""
        labels = self.data.dataset.splits[split].labels.numpy()
        return np.asarray(read_array(self.folder / f"{split}.classes.npy")) == labels

    def errors(self, split: str = "test") -> int:
        """How many rows of a split it has wrong."""
        return int((~self.right(split)).sum())

    def _judge(self, validation: Split) -> Callable[[nn.Module], tuple[float, float]]:
        """What chooses the epoch: loss and top-1 of labels.

        Where classes are missing: its loss to its teacher, and top-1, on rows of the others.
        """
        missing = self.lesson.missing
        if not missing:
            return ValidationLoss(validation.inputs, validation.labels)
        seen, loss = without_classes(validation, missing), self.lesson.loss()
        targets = mean_of(self.teacher_networks(), self.lesson.mean)(seen.inputs)

        def judge(network: nn.Module) -> tuple[float, float]:
            outputs = predict_outputs(network, seen.inputs)
            right = (outputs.argmax(1) == seen.labels).double().mean()
            return float(loss(outputs, targets, seen.labels)), float(right)

        return judge

    def _keep(self, outputs: Tensor, split: str, folder: Path) -> None:
        classes = outputs.argmax(1).numpy().astype(np.int32)
        write_array(folder / f"{split}.classes.npy", classes)
        if self.lesson.keep_outputs:
            write_array(folder / f"{split}.outputs.npy", outputs.numpy())

    @property
    def _teachers(self) -> tuple[Lesson, ...]:
        return self.lesson.teachers

    def _by(self, teacher: Lesson) -> KeptModel:
        return KeptModel(self.models, self.data, teacher)

    def teacher_networks(self) -> list[nn.Module]:
        """The trained networks of its teachers, in evaluation mode."""
        return [self._by(each).network() for each in self._teachers]

    def _teacher(self, train: Split) -> Teacher | None:
        if not self._teachers:
            return None
        asked = mean_of(self.teacher_networks(), self.lesson.mean)
        if not self.lesson.online:
            return asked(train.inputs)
        hardware = hardware_of(self.data)

        def ask(inputs: Inputs) -> Tensor:
            with autocast(hardware.torch_device, hardware.precision):
                return asked(inputs)

        return ask


def mean_of(networks: Sequence[nn.Module], mean: Mean) -> Callable[[Inputs], Tensor]:
    """A function from inputs to the log-probabilities of the averaged networks."""

    def ask(inputs: Inputs) -> Tensor:
        each = [predict_outputs(network, inputs).log_softmax(1) for network in networks]
        return each[0] if len(each) == 1 else MEANS[mean](each)

    return ask


class Kept(Protocol):
    """What lies in folders once it is made."""

    def ensure(self) -> None:
        """Make what does not stand."""
        ...


def ensure_kept(task: Kept) -> None:
    """Make what does not stand; for worker processes."""
    task.ensure()


def hardware_of(data: PaperData) -> Hardware:
    """Device and precision of the configuration."""
    return Hardware(data.config.device, data.config.precision)


def conditions(data: PaperData) -> dict[str, object]:
    """What every training on some data depends on; a file may lie anywhere."""
    settings = data.config
    named = SOURCES if data.fingerprint else ()
    return {
        "data": {k: v for k, v in settings.section("data").items() if k not in named},
        "n_classes": data.n_classes,
        "precision": resolve_precision(hardware_of(data).torch_device, settings.precision),
    }


@contextmanager
def cpu_seconds_kept(folder: Path) -> Iterator[None]:
    """Write the processor time that is used inside; after an interruption it is a lower bound."""
    began, goes_on = time.process_time(), (folder / "checkpoint.pt").is_file()
    yield
    seconds = round(time.process_time() - began, 2)
    write_json(folder / CPU_TIME, {"seconds": seconds, "at_least": goes_on})


def cpu_seconds(folder: Path) -> float:
    """What was written of it; 0 if nothing was, or nothing that can be read: no result needs it."""
    try:
        return float(read_json(folder / CPU_TIME)["seconds"])
    except (DamagedError, FileNotFoundError, KeyError, TypeError, ValueError):
        return 0.0
