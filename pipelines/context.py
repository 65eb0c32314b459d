"""What every stage needs of a run: its settings, resolved for its kind of input, and its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from specialists.config import Config
from specialists.datasets.augmentation import AUGMENTATIONS
from specialists.datasets.base import Dataset, Inputs, Split, row_shape
from specialists.datasets.factory import source_file
from specialists.datasets.storage import load_dataset_folder, read_about
from specialists.ensemble import cost_sample
from specialists.files import check_networks, sha256
from specialists.networks import (
    ARCHITECTURES,
    GivenInputs,
    NetworkSpec,
    check_head_is_last,
    check_resizable,
    generalist_spec,
    head_of,
)
from specialists.runtime import Hardware, derive_seed, resolve_precision
from specialists.training.examples import Augmentation

from .runs import Run

N_TRIED = 4  # rows on which a network is tried


@dataclass(frozen=True)
class RunContext:
    """A run folder with its resolved configuration and its data set.

    Parameters
    ----------
    folder : Path
    config : Config
    about : mapping
        What ``dataset.json`` says.
    test_labels : bool
        Whether the test split's labels are read.
    """

    folder: Path
    config: Config
    about: Mapping[str, Any]
    test_labels: bool = False

    @classmethod
    def open(cls, folder: str | Path, test_labels: bool = False) -> RunContext:
        run = Run(folder)
        about = read_about(run.path("prepare-data"))
        return cls(run.folder, run.config.resolve(run.kind), about, test_labels)

    @classmethod
    def before_files(cls, folder: Path, config: Config, dataset: Dataset) -> RunContext:
        """A run whose data set is not written yet."""
        about = {"class_names": dataset.class_names, "preprocessing": dataset.preprocessing}
        context = cls(folder, config, about)
        vars(context)["dataset"] = dataset
        return context

    @cached_property
    def dataset(self) -> Dataset:
        """Read when it is first asked for: whoever predicts needs none of its rows."""
        return load_dataset_folder(self.path("prepare-data"), self.test_labels)

    def path(self, stage: str, *parts: str) -> Path:
        return self.folder.joinpath(stage, *parts)

    def seed(self, *names: object) -> int:
        """A separate seed for everything that has a name."""
        return derive_seed(self.config.seed, *names)

    @property
    def hardware(self) -> Hardware:
        """Device and precision of the configuration."""
        return Hardware(self.config.device, self.config.precision)

    @property
    def device(self) -> torch.device:
        return self.hardware.torch_device

    @property
    def augment(self) -> Augmentation | None:
        """The random change of training batches that the configuration asks for."""
        return AUGMENTATIONS.get(self.dataset.kind) if self.config.data.augment else None

    @property
    def conditions(self) -> dict[str, object]:
        """What every training depends on beside its own recipe, network and files."""
        settings = self.config
        conditions = {
            "augment": settings.data.augment,
            "device": settings.device,
            "precision": resolve_precision(self.device, settings.precision),
        }
        return {**conditions, **self.source("generalist")}

    def source(self, section: str) -> dict[str, str]:
        """sha256 of the module whose function builds a section's networks; none without one."""
        factory = getattr(self.config, section).factory
        source = source_file(factory) if factory else None
        name = "factory" if section == "generalist" else f"{section}.factory"
        return {} if source is None else {name: sha256(source)}

    def check_networks(self) -> None:
        """Raise an InputError unless somebody vouches for the functions that build networks."""
        check_networks(self.config, self.folder / "config.toml")

    @property
    def is_given(self) -> bool:
        """Whether the user brings the generalist as its predictions."""
        return self.path("prepare-data", "train.predictions.npy").is_file()

    def asked(self, name: str) -> Inputs:
        """Inputs of a split for models that ask the generalist: beside what it says, if given."""
        split = self.split(name)
        if split.predictions is None:
            return split.inputs
        return GivenInputs(split.inputs, split.predictions)  # pyright: ignore[reportReturnType]

    def split(self, name: str) -> Split:
        """The split of this name: train, validation, test, and admission if there is one."""
        return self.dataset.splits[name]

    def network_spec(self, width: int | None = None) -> NetworkSpec:
        """The generalist's description, at another ``width`` if one is given."""
        settings = self.config.generalist
        self.check_networks()
        shape, names = row_shape(self.dataset.train.inputs), self.dataset.class_names
        spec = generalist_spec(settings, len(names), shape, names)
        return spec if width is None else dataclasses.replace(spec, width=width)

    def check_head(self, network: nn.Module, spec: NetworkSpec, inputs: Inputs) -> None:
        """Raise an InputError unless a factory's network ends in a head that specialists can have.

        Where they have their own networks, or share one of all classes, any head will do.
        """
        if spec.model in ARCHITECTURES:
            return
        check_head_is_last(network, spec.n_classes, cost_sample(inputs, N_TRIED))
        settings = self.config.specialists
        if settings.kind != "shared" and settings.factory is None:
            check_resizable(head_of(network, spec.n_classes))

    def below(self, path: Path) -> str:
        """A path below the run folder, as artifacts name it."""
        return path.relative_to(self.folder).as_posix()

    def fingerprints(self, *files: str) -> dict[str, str]:
        """sha256 of files below the run folder, by path; data need not have weights."""
        paths = {file: self.folder / file for file in files}
        optional = [file for file in paths if file.endswith((".weights.npy", ".predictions.npy"))]
        there = {k: v for k, v in paths.items() if k not in optional or v.is_file()}
        for file, path in there.items():
            instead = path.with_suffix(".json")  # of inputs that are read in place
            if file.endswith(".inputs.npy") and instead.is_file():
                there[file] = instead
        return {file: sha256(path) for file, path in there.items()}
