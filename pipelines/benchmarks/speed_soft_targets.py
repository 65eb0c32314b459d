"""What does a step with stored soft targets take, beside one with hard labels?

    python -m pipelines.benchmarks.speed targets [--quick]

Students of hashed text (width 256, 4,342 classes, batches of 512) are trained step by step, each
step as in a run: rows are gathered, their soft targets are read from the disk, then come network,
loss, gradient and optimisers. Seconds are of the processor, with one thread. All trainings have
their turn in every round, and the best round of each counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from specialists.classifier import hard_label_loss
from specialists.config import Recipe
from specialists.datasets.base import Ragged, Split
from specialists.distillation import (
    SparseTargets,
    bytes_of_sparse,
    read_draws,
    read_top,
    student_examples,
    write_draws,
    write_top,
)
from specialists.losses import DistillationLoss
from specialists.networks import NetworkSpec, build, outputs_of
from specialists.predictions import DensePredictions, StoredPredictions, write_shards
from specialists.runtime import one_torch_thread
from specialists.training import Batch
from specialists.training.examples import Examples, ordering
from specialists.training.loading import Loader
from specialists.training.loop import Loss
from specialists.training.optimisers import Optimisers

from .markdown_tables import Line
from .seconds import best_of

CASES = [(1.0, 1.0), (1.0, 0.7), (2.0, 1.0), (2.0, 0.7)]  # temperatures and alphas
TEMPERATURES = (1.0, 2.0)
STORES = ("dense", "top", "sampled")
N_KEPT = {"top": 32, "sampled": 13}
N_GRAMS = 100  # of one text
HARD = "hard labels"
RECIPE = Recipe(epochs=1, batch_size=512, learning_rate=4e-3, embedding_learning_rate=1.0)


class SteppedTraining:
    """A training that goes on for a few steps when it is told to."""

    def __init__(self, spec: NetworkSpec, examples: Examples, loss: Loss, n_steps: int) -> None:
        torch.manual_seed(0)
        self.network = build(spec).train()
        self.optimisers = Optimisers(self.network, RECIPE, n_steps)
        self.examples, self.loss = examples, loss
        self.batches = self._batches()

    def _batches(self) -> Iterator[Batch]:
        generator = ordering(0, 0)
        while True:
            order = self.examples.order(generator)
            yield from Loader(self.examples, order, 512, generator, torch.device("cpu"))

    def steps(self, n: int) -> None:
        """Train for n steps."""
        for batch in islice(self.batches, n):
            logits = outputs_of(self.network, batch.inputs).float()
            self.loss(logits, *batch.targets).backward()
            self.optimisers.step()


def soft_target_steps(quick: bool) -> list[Line]:
    """One line for hard labels, and one a store, temperature and alpha."""
    n_rows, n_classes, n_rounds, n_steps = (1024, 50, 1, 1) if quick else (16_384, 4342, 12, 4)
    spec = NetworkSpec(
        "hashed_text", n_classes, width=256, embedding_dim=48, n_buckets=2**10 if quick else 2**16
    )
    train = random_texts(n_rows, n_classes)
    with tempfile.TemporaryDirectory() as name, one_torch_thread():
        write_stores(Path(name), n_rows, n_classes)
        jobs = {
            key: partial(
                SteppedTraining(spec, examples, loss, (n_rounds + 1) * n_steps).steps, n_steps
            )
            for key, (examples, loss) in trainings(Path(name), train).items()
        }
        for job in jobs.values():
            job()  # files are in memory from here on
        seconds = best_of(jobs, n_rounds)
    return [
        {
            "targets": key,
            "bytes an example": bytes_of(key, n_classes),
            "CPU ms a step": f"{1e3 * took / n_steps:.1f}",
            "over hard labels": f"{took / seconds[HARD]:.2f}",
        }
        for key, took in seconds.items()
    ]


def random_texts(n_rows: int, n_classes: int) -> Split:
    """Texts of so many hashes, and labels."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(2**31 - 1, (n_rows * N_GRAMS,), generator=generator, dtype=torch.int32)
    texts = Ragged(values, torch.arange(0, len(values) + 1, N_GRAMS))
    return Split(texts, torch.randint(n_classes, (n_rows,), generator=generator))


def write_stores(folder: Path, n_rows: int, n_classes: int) -> None:
    """Random predictions as each kind of store, in a folder of its own."""

    def blocks() -> Iterator[DensePredictions]:
        generator = torch.Generator().manual_seed(1)
        for rows in torch.arange(n_rows).split(2048):
            logits = 3 * torch.randn(len(rows), n_classes, generator=generator)
            yield DensePredictions(logits.log_softmax(1))

    for store in STORES:
        (folder / store).mkdir()
    write_shards(folder / "dense", blocks(), n_classes, {})
    write_top(folder / "top", blocks(), TEMPERATURES, N_KEPT["top"])
    write_draws(folder / "sampled", blocks(), TEMPERATURES, N_KEPT["sampled"], seed=0)


def trainings(folder: Path, train: Split) -> dict[str, tuple[Examples, Loss]]:
    """What is trained on, and its loss, by name."""
    found: dict[str, tuple[Examples, Loss]] = {
        HARD: (student_examples(train, None), hard_label_loss(RECIPE))
    }
    for store in STORES:
        for t, alpha in CASES:
            teacher, loss = teacher_of(folder / store, t, alpha)
            found[f"{store}, T = {t:g}, alpha = {alpha}"] = student_examples(train, teacher), loss
    return found


def teacher_of(
    folder: Path, temperature: float, alpha: float
) -> tuple[StoredPredictions | SparseTargets, Loss]:
    """Stored targets and the loss that learns them."""
    if folder.name == "dense":
        return StoredPredictions(folder), DistillationLoss(temperature, alpha)
    teacher = (read_top if folder.name == "top" else read_draws)(folder, temperature)
    return teacher, teacher.loss(temperature, alpha, 0.0)


def bytes_of(key: str, n_classes: int) -> str:
    """What one example takes on the disk, at one temperature."""
    store = key.split(",")[0]
    if store == "dense":
        return f"{2 * n_classes:,}"
    if store in ("top", "sampled"):
        return f"{bytes_of_sparse(store, N_KEPT[store], n_classes):,}"
    return "0"
