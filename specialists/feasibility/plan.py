"""Can a resolved configuration work with these data?

Do they have the classes and rows that it counts on, and can its networks be built, joined and held
in memory? Networks are built without memory for their weights (PyTorch's meta device) and see one
batch there; those of factories are built as they are, and see two rows where these have a shape.
What they need is a lower bound: only what is far too large is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from specialists.config import (
    CombinationConfig,
    Config,
    Recipe,
    distinct_networks,
    is_set,
    student_candidates,
)
from specialists.datasets.base import Inputs, Ragged
from specialists.distillation import student_spec
from specialists.errors import InputError
from specialists.feasibility.cluster_numbers import impossible_clusters
from specialists.feasibility.objectives import impossible_trials, missing_layers
from specialists.feasibility.shape import DataShape
from specialists.networks import (
    ARCHITECTURES,
    NetworkSpec,
    check_outputs,
    generalist_spec,
    n_parameters,
    outline,
    own_spec,
    split_frozen,
)
from specialists.runtime import memory

DTYPES = {"features": torch.float32, "images": torch.uint8}
PATTERNS = 1024  # of right and wrong answers, whose counts are drawn anew for every interval


def impossible(config: Config, data: DataShape) -> Iterator[str]:
    """A line for each part of a resolved configuration that cannot work with these data."""
    yield from impossible_clusters(config.clusters, data.n_classes)
    yield from _combination(config.combination, data.n_classes)
    yield from impossible_networks(config, data)
    yield from impossible_trials(config.student, config.seed)
    n_bootstrap = config.evaluation.n_bootstrap
    needed = 8 * n_bootstrap * min(data.n_test, PATTERNS)
    if needed > memory():
        needs = f"needs {needed / GIB:,.1f} GiB of memory"
        has = f"this machine has {memory() / GIB:,.1f} GiB"
        yield f"evaluation.n_bootstrap = {n_bootstrap} {needs}; {has}"


def _combination(combination: CombinationConfig, n_classes: int) -> Iterator[str]:
    if is_set(combination, "n") and max(combination.n) > n_classes:
        yield f"combination.n = {list(combination.n)}: at most {n_classes}, the number of classes"


BYTES = 20  # a parameter, its gradient, AdamW's two moments, and the best epoch's
BYTES_IN_TABLE = 12  # without a dense gradient, and with Adagrad's one moment
GIB = 2**30


def impossible_networks(config: Config, data: DataShape) -> Iterator[str]:
    """A line for each network of a resolved configuration that cannot be trained."""
    recipe = config.generalist
    if data.kind == "tensors" and recipe.factory is None:
        yield "generalist.factory is not set: no network that ships takes tensors, set your own"
        return
    for width in recipe.widths or (1,):
        spec = generalist_spec(recipe, data.n_classes, data.input_shape)
        spec = dataclasses.replace(spec, width=width)
        if spec.model not in ARCHITECTURES and not config.specialists.freeze:
            return  # the first stage to come builds it
        mistakes = list(_untrainable("generalist", spec, recipe, data))
        mistakes = mistakes or list(_impossible_beside(config, spec, data))
        yield from mistakes
        if mistakes:
            return


def _impossible_beside(config: Config, generalist: NetworkSpec, data: DataShape) -> Iterator[str]:
    """The same for specialists and student of one generalist."""
    specialist = specialist_spec(config, generalist)
    if config.specialists.start != "fresh" and specialist.width < generalist.width:
        yield (
            f"specialists.width, specialists.widen: {specialist.width} for a generalist of width "
            f"{generalist.width}; only specialists.start = 'fresh' allows narrower ones"
        )
    else:
        if config.specialists.factory is None:
            yield from _unfrozen(config, generalist, specialist)
        yield from _untrainable("specialists", specialist, config.specialists, data)
    yield from _impossible_student(config, generalist, data)
    yield from missing_layers(config, generalist, data.kind)


def _impossible_student(config: Config, generalist: NetworkSpec, data: DataShape) -> Iterator[str]:
    """A student of a given size is not built: to find its width takes many networks."""
    for recipe in distinct_networks(student_candidates(config.student, config.seed)):
        if recipe.factory is not None or recipe.width is not None:
            spec = student_spec(generalist, recipe, data.kind)
            yield from _untrainable("student", spec, recipe, data)
            continue
        dense = recipe.size * n_parameters(outline(generalist), tables=False)
        table = (recipe.embedding_dim or 0) * (recipe.n_buckets or 0) * (data.kind == "text")
        what = f"[student] (size {recipe.size:g}, a table of {table:,} numbers)"
        yield from _too_much(what, BYTES * dense + BYTES_IN_TABLE * table)


def specialist_spec(config: Config, generalist: NetworkSpec, n_outputs: int = 2) -> NetworkSpec:
    """A specialist of so many outputs, at the width that is tried first."""
    recipe, width = config.specialists, generalist.width
    own = own_spec(recipe, n_outputs, generalist.input_shape)
    if own is not None:
        return own
    if generalist.model in ARCHITECTURES:
        width = recipe.width or max(1, round((recipe.widen or 1.0) * width))
    changes = {"width": width, "n_buckets": recipe.n_buckets or generalist.n_buckets}
    return dataclasses.replace(generalist, n_outputs=n_outputs, head_rank=None, **changes)


def _unfrozen(config: Config, generalist: NetworkSpec, specialist: NetworkSpec) -> Iterator[str]:
    """A line where a frozen part does not exist, or is none that specialists can share."""
    width, freeze = config.specialists.width, config.specialists.freeze or ()
    try:
        lower = [split_frozen(outline(spec), freeze)[0] for spec in (generalist, specialist)]
    except InputError as error:
        yield error.in_a_line
        return
    shapes = [[v.shape for v in part.state_dict().values()] if part else [] for part in lower]
    if width is not None and shapes[0] != shapes[1]:
        yield (
            f"specialists.width = {width}: frozen parts ({', '.join(freeze)}) would have "
            "another width than the generalist's; freeze nothing, or leave the width unset"
        )


def _untrainable(section: str, spec: NetworkSpec, recipe: Recipe, data: DataShape) -> Iterator[str]:
    """A line if this network cannot be built, or needs more memory than there is."""
    try:
        network = outline(spec)
        if spec.model not in ARCHITECTURES and data.kind in DTYPES:
            check_outputs(network, spec, torch.zeros(2, *spec.input_shape, dtype=DTYPES[data.kind]))
        total, needed = n_parameters(network), training_bytes(network, spec, recipe, data.n_train)
    except InputError as error:
        yield error.in_a_line
    except (ValueError, RuntimeError) as error:
        yield f"[{section}] describes a network that cannot be trained: {error}"
    else:
        sizes = f"width {spec.width}, depth {spec.depth}, batches of {recipe.batch_size}"
        if spec.model == "hashed_text":
            sizes += f", a table of {spec.n_buckets:,} x {spec.embedding_dim:,}"
        yield from _too_much(f"[{section}] ({sizes}: {total:,} parameters)", needed)


def training_bytes(network: nn.Module, spec: NetworkSpec, recipe: Recipe, n_train: int) -> int:
    """Memory that the training of an outlined network needs at least; without a user's layers."""
    total, dense = n_parameters(network), n_parameters(network, tables=False)
    needed = BYTES * dense + BYTES_IN_TABLE * (total - dense)
    if spec.model in ARCHITECTURES:
        needed += _activations(network, spec, min(recipe.batch_size or 1, n_train))
    return needed


def _activations(network: nn.Module, spec: NetworkSpec, n: int) -> int:
    """Bytes of the layers' outputs for ``n`` inputs in training, which their gradients need."""
    sizes: list[int] = []

    def note(module: nn.Module, inputs: object, output: Tensor) -> None:
        sizes.append(4 * output.numel())

    for name, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, _Normalisation())
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    network(_no_inputs(spec, n))
    return sum(sizes)


class _Normalisation(nn.Module):
    """The shapes of a batch normalisation in training; PyTorch's own needs seconds for them."""

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() == x.shape[1]:
            raise ValueError("a batch of one image of so few pixels has no variance")
        return x


def _no_inputs(spec: NetworkSpec, n: int) -> Inputs:
    if spec.model != "hashed_text":
        return torch.empty(n, *spec.input_shape, device="meta")
    values = torch.empty(n, dtype=torch.int32, device="meta")
    return Ragged(values, torch.empty(n + 1, dtype=torch.int64, device="meta"))


def _too_much(what: str, needed: float) -> Iterator[str]:
    if needed > memory():
        has = f"this machine has {memory() / GIB:,.1f} GiB"
        yield f"{what} needs at least {needed / GIB:,.1f} GiB of memory to train; {has}"
