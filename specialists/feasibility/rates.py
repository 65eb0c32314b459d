"""How long does a training step of a network take here, and how much does it compute and hold?

A few steps are timed on batches of the real data, from fresh weights, which are thrown away. No
random number of the run depends on it.
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.config import SpecialistsConfig
from specialists.datasets.base import Inputs, Ragged, Split
from specialists.feasibility.trainings import PlannedTrainings
from specialists.networks import (
    Adapters,
    NetworkSpec,
    adapted,
    adapters_of,
    build,
    cut_below,
    n_parameters,
    outputs_of,
    own_parameters,
    split_frozen,
)
from specialists.runtime import Hardware, autocast, one_torch_thread
from specialists.training import Batch, TensorExamples, flops_per_example
from specialists.training.examples import Augmentation
from specialists.training.optimisers import Optimisers
from specialists.trunk import Stacked

SECONDS = 0.15  # of timed steps of one network
LONG_STEP = 5.0  # after which no other is timed
WARM_UP, MOST_STEPS = 2, 20
MOST_BUCKETS = 2**18  # of a table that is timed: larger ones take long to be made


@dataclass(frozen=True)
class StepRate:
    """What the training of one network takes.

    Parameters
    ----------
    seconds, flops : float
        Of a training step, for each of its examples.
    dense, table : int
        Its trained parameters, and the numbers of its trained n-gram table.
    """

    seconds: float
    flops: float
    dense: int
    table: int = 0


def measured_rate(
    plan: PlannedTrainings,
    train: Split,
    hardware: Hardware,
    augment: Augmentation | None = None,
    one_thread: bool = True,
) -> StepRate:
    """Time some steps of a planned training on batches of ``train``."""
    device = hardware.torch_device
    devices = [device] if device.type == "cuda" else []
    alone = one_torch_thread() if one_thread else nullcontext()
    with alone, torch.random.fork_rng(devices=devices), torch.enable_grad():
        lower, upper = _lower_and_upper(plan)
        network = upper if lower is None else Stacked(lower, upper)
        network.to(device).train()
        examples = TensorExamples(train.inputs, (train.labels,), augment)
        batches = [_batch(examples, plan, i).to(device) for i in range(WARM_UP + 2)]
        if lower is not None and augment is None:  # its features are computed once for all epochs
            network, batches = upper.train(), [_features(lower, batch) for batch in batches]
        with autocast(device, hardware.precision):
            flops = flops_per_example(network, batches[0], _loss)
        seconds = _step_seconds(network, batches, plan, hardware)
    if adapters_of(upper) is not None:
        return StepRate(seconds, flops, own_parameters(upper))
    dense = n_parameters(upper, tables=False)
    return StepRate(seconds, flops, dense, _table(plan.spec, n_parameters(upper) > dense))


def _lower_and_upper(plan: PlannedTrainings) -> tuple[nn.Module | None, nn.Module]:
    """A network as it is trained: its frozen part, or None, and the rest."""
    spec, recipe = plan.spec, plan.recipe
    spec = replace(spec, n_buckets=min(spec.n_buckets, MOST_BUCKETS))
    if not isinstance(recipe, SpecialistsConfig) or recipe.adapter is None:
        return split_frozen(build(spec), plan.frozen)
    generalist = build(replace(spec, n_outputs=None))
    adapters = Adapters.of(generalist, spec.n_classes, recipe)
    assert adapters is not None
    lower, upper = cut_below(generalist, adapters)
    subset = torch.arange((spec.n_outputs or 2) - 1)
    return lower, adapted(upper, spec.n_classes, subset, adapters)


def rows_read(inputs: Inputs, n_buckets: int) -> int:
    """How many rows of an n-gram table of this size some of the inputs reads."""
    if not isinstance(inputs, Ragged):
        return 0
    read = torch.zeros(n_buckets, dtype=torch.bool)
    read[(inputs.values & (n_buckets - 1)).long()] = True
    return int(read.sum())


def _table(spec: NetworkSpec, is_trained: bool) -> int:
    return spec.n_buckets * spec.embedding_dim if is_trained else 0


def _batch(examples: TensorExamples, plan: PlannedTrainings, i: int) -> Batch:
    n = min(plan.recipe.batch_size or 1, len(examples))
    generator = torch.Generator().manual_seed(i)
    batch = examples.batch(torch.randint(len(examples), (n,), generator=generator), generator)
    n_outputs = plan.spec.n_outputs or plan.spec.n_classes
    return Batch(batch.inputs, tuple(labels % n_outputs for labels in batch.targets))


def _features(lower: nn.Module, batch: Batch) -> Batch:
    with torch.no_grad():
        return Batch(outputs_of(lower, batch.inputs), batch.targets)


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs.float(), labels)


def _step_seconds(
    network: nn.Module, batches: list[Batch], plan: PlannedTrainings, hardware: Hardware
) -> float:
    """The median of some steps, over their examples; the first ones only set things up."""
    optimisers = Optimisers(network, plan.recipe, MOST_STEPS)
    device, seconds = hardware.torch_device, []
    while len(seconds) < MOST_STEPS and sum(seconds[WARM_UP:]) < SECONDS:
        batch = batches[len(seconds) % len(batches)]
        began = time.perf_counter()
        with autocast(device, hardware.precision):
            outputs = outputs_of(network, batch.inputs)
        _loss(outputs, *batch.targets).backward()
        optimisers.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
        if seconds[-1] > LONG_STEP:
            break
    settled = seconds[WARM_UP:] or seconds[-1:]
    return statistics.median(settled) / len(batches[0])
