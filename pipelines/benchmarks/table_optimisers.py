"""Which optimiser of the n-gram table is worth its time? The generalist of `languages`, three ways.

    python -m pipelines.benchmarks.table_optimisers [--quick] [--seeds 3] [generalist.epochs=3 ...]

sparse      ``torch.optim.Adagrad`` on the sparse gradients of ``torch.nn.functional.embedding_bag``
exact       the same formula as the program computes it (:mod:`specialists.training.table_adagrad`)
row-wise    a single sum of squares a row, their mean: it is less to read and write, but not Adagrad

Seconds are of the processor, of whole trainings with their validation by one thread; the three take
turns within a seed. Scores are of the best epoch on validation rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from specialists.classifier import train_classifier
from specialists.config import Config
from specialists.datasets import load_dataset
from specialists.datasets.base import Ragged
from specialists.networks import HashedEmbedding, build, generalist_spec
from specialists.runtime import Hardware, seed_everything
from specialists.training.table_adagrad import EPSILON, TableAdagrad

from .markdown_tables import Line, markdown_table, mean_and_spread
from .study import configs_by_seed

OPTIMISED = "specialists.training.optimisers.TableAdagrad"
QUICK = ("data.max_examples=600", "generalist.n_buckets=4096", "generalist.epochs=1")


class RowWiseAdagrad(Optimizer):
    """w <- w - rate g / sqrt(s), s the sum over the steps of the mean square of a row's g."""

    def __init__(self, tables: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(tables, {"lr": lr})
        for table in tables:
            self.state[table]["sum"] = torch.zeros(len(table))

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for table in group["params"]:
                rows, values = table.grad._indices()[0], table.grad._values()
                squares = torch.linalg.vecdot(values, values) / values.shape[1]
                sums = self.state[table]["sum"].index_add_(0, rows, squares)[rows]
                scale = -group["lr"] / (sums.sqrt() + EPSILON)
                table.index_add_(0, rows, values * scale.unsqueeze(1))


def sparse_bags(table: HashedEmbedding, ngrams: Ragged) -> Tensor:
    """The forward pass of a hashed embedding whose backward pass is torch's."""
    rows, offsets = ngrams.values & table.mask, ngrams.offsets.to(ngrams.values.dtype)
    return F.embedding_bag(
        rows, table.weight, offsets, mode="mean", sparse=True, include_last_offset=True
    )


WAYS: dict[str, tuple[Callable[..., Tensor], type[Optimizer]]] = {
    "sparse": (sparse_bags, torch.optim.Adagrad),
    "exact": (HashedEmbedding.forward, TableAdagrad),
    "row-wise": (HashedEmbedding.forward, RowWiseAdagrad),
}


@dataclass(frozen=True)
class Training:
    """Seconds of the processor, negative log-likelihood in nats and top-1 of one training."""

    seconds: float
    loss: float
    top1: float


def train(way: str, config: Config) -> Training:
    """Train the generalist of a configuration of text in one way."""
    dataset = load_dataset(config.data, config.seed)
    settings = config.resolve(dataset.kind).generalist
    forward, optimiser = WAYS[way]
    seed_everything(config.seed)
    network = build(generalist_spec(settings, dataset.n_classes, ()))
    with (
        patch.object(HashedEmbedding, "forward", forward),
        patch(OPTIMISED, optimiser),
        torch.sparse.check_sparse_tensor_invariants(enable=False),
    ):
        start = time.process_time()
        result = train_classifier(
            network,
            dataset.train,
            dataset.validation,
            settings,
            seed=config.seed,
            hardware=Hardware("cpu"),
        )
    return Training(time.process_time() - start, result.loss, result.top1)


def table_optimisers(quick: bool, overrides: Sequence[str] = (), seeds: int = 3) -> list[Line]:
    """A line a way; ratios are of the seconds of all seeds."""
    overrides = [*(QUICK if quick else ()), *overrides]
    configs = configs_by_seed("languages", overrides, 1 if quick else seeds)
    train("sparse", configs_by_seed("languages", QUICK, 1)[0])  # imports late what all need
    trained: dict[str, list[Training]] = {way: [] for way in WAYS}
    for config in configs:
        for way in WAYS:
            trained[way].append(train(way, config))
    before = sum(each.seconds for each in trained["sparse"])
    return [
        {
            "optimiser": way,
            "CPU s": mean_and_spread([each.seconds for each in results], digits=1),
            "ratio": f"{before / sum(each.seconds for each in results):.2f}",
            "NLL": mean_and_spread([each.loss for each in results], digits=4),
            "top-1, %": mean_and_spread([each.top1 for each in results], 100),
        }
        for way, results in trained.items()
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.table_optimisers")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings of the run")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each optimiser")
    parser.add_argument("--quick", action="store_true", help="as little as shows that it works")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(markdown_table(table_optimisers(arguments.quick, arguments.overrides, arguments.seeds)))


if __name__ == "__main__":
    main()
