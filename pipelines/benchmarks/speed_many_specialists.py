"""What does one specialist of few classes cost where there are many? Before and after, in one run.

    python -m pipelines.benchmarks.speed_many_specialists [--quick]

Classes with 30 examples each, and specialists of 30 classes, which all train on equally many
examples. "before" opens the data set and reads the generalist for every specialist, makes the soft
targets of all rows from all classes, and validates on every row after each epoch. Seconds are of
the processor, with one thread; each has its turn in every round, and the best round counts.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.calibration import dustbin_correction, fit_calibration
from specialists.config import SpecialistsConfig
from specialists.datasets.base import Dataset, Split
from specialists.datasets.storage import load_dataset_folder, save_dataset
from specialists.losses import SpecialistLoss
from specialists.networks import NetworkSpec, build, load_network, save_network
from specialists.predictions import (
    DensePredictions,
    StoredPredictions,
    predict_outputs,
    write_shards,
)
from specialists.runtime import Hardware, one_torch_thread
from specialists.specialist import soft_targets, specialise, train_specialist
from specialists.specialist.sampling import subset_labels
from specialists.training import BalancedExamples, TensorExamples, Trainer, ValidationLoss

from .markdown_tables import Line, markdown_table
from .seconds import best_of

N_FEATURES, PER_CLASS, VALIDATION_PER_CLASS, SUBSET_SIZE = 64, 30, 6, 30
SETTINGS = SpecialistsConfig(epochs=8, batch_size=256, learning_rate=2e-3)
HARDWARE = Hardware("cpu", "float32")


def many_specialists(quick: bool) -> list[Line]:
    """One line a number of classes."""
    lines = []
    for n_classes in (60,) if quick else (500, 2000):
        with tempfile.TemporaryDirectory() as name:
            write_run(Path(name), n_classes)
            opened = Opened(Path(name))
            jobs = {
                "before": lambda folder=Path(name): trained_before(Opened(folder)),
                "after": partial(trained_after, opened),
            }
            with one_torch_thread():
                times = best_of(jobs, 1 if quick else 3)
        lines.append(
            {
                "classes": f"{n_classes:,}",
                "training rows": f"{n_classes * PER_CLASS:,}",
                "before, s a specialist": f"{times['before']:.2f}",
                "after, s": f"{times['after']:.2f}",
                "ratio": f"{times['before'] / times['after']:.1f}",
            }
        )
    return lines


def write_run(folder: Path, n_classes: int) -> None:
    """A data set, a generalist that has learned nothing, and its predictions of training rows."""
    spec = NetworkSpec("mlp", n_classes, (N_FEATURES,), width=128)
    torch.manual_seed(0)
    network = build(spec)
    save_network(network, spec, folder / "generalist")
    train, validation = rows(PER_CLASS, n_classes), rows(VALIDATION_PER_CLASS, n_classes)
    names = tuple(map(str, range(n_classes)))
    dataset = Dataset("made up", "features", names, train, validation, rows(1, n_classes), {})
    save_dataset(dataset, folder / "data")
    inputs = train.inputs
    assert isinstance(inputs, Tensor)
    with torch.no_grad():
        blocks = [DensePredictions(network(part).log_softmax(1)) for part in inputs.split(2048)]
    write_shards(folder / "log_probs", blocks, n_classes, {})


def rows(n_per_class: int, n_classes: int) -> Split:
    """Features and texts."""
    labels = torch.arange(n_classes).repeat(n_per_class)
    texts = tuple(f"row {i}" for i in range(len(labels)))
    return Split(torch.randn(len(labels), N_FEATURES), labels, texts=texts)


class Opened:
    """What a specialist learns from."""

    def __init__(self, folder: Path) -> None:
        self.dataset = load_dataset_folder(folder / "data")
        self.generalist = load_network(folder / "generalist")[0]
        self.predictions = StoredPredictions(folder / "log_probs")
        self.subset = torch.arange(SUBSET_SIZE)

    def network(self) -> nn.Module:
        """The start of a specialist."""
        return specialise(self.generalist, self.dataset.n_classes, self.subset)


def trained_after(opened: Opened) -> None:
    """One specialist, as it is trained now."""
    train, validation = opened.dataset.train, opened.dataset.validation
    data = (opened.subset, train, validation, opened.predictions, SETTINGS)
    train_specialist(opened.network(), *data, seed=0, hardware=HARDWARE)


def trained_before(opened: Opened) -> None:
    """One specialist, as it was trained."""
    dataset, subset, share = opened.dataset, opened.subset, SETTINGS.subset_share
    places, held_out = (
        subset_labels(split.labels, subset, dataset.n_classes)
        for split in (dataset.train, dataset.validation)
    )
    inside = places < SUBSET_SIZE
    index, natural = torch.arange(len(places)), float(inside.double().mean())
    blocks = (DensePredictions(opened.predictions[part].dense()) for part in index.split(8192))
    targets = torch.cat([soft_targets(block.dense(), subset, share, natural) for block in blocks])
    examples = TensorExamples(dataset.train.inputs, (F.softmax(targets, dim=-1), places))
    network = opened.network()
    Trainer(
        network,
        BalancedExamples(examples, index[inside], index[~inside], share),
        SpecialistLoss(SETTINGS.temperature, SETTINGS.soft_targets, 0.0),
        ValidationLoss(dataset.validation.inputs, held_out),
        SETTINGS,
        seed=0,
        hardware=HARDWARE,
    ).fit()
    outputs = predict_outputs(network, dataset.validation.inputs)
    fit_calibration(outputs, held_out, dustbin_correction(share, natural))


if __name__ == "__main__":
    print(markdown_table(many_specialists("--quick" in sys.argv)))
