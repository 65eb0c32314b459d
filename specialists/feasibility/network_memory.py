"""Can the networks that are asked for be built, joined and held in memory?

Networks are built without memory for their weights (PyTorch's meta device) and see one batch there.
What they need is a lower bound: only what is far too large is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from specialists.config import Config, Recipe
from specialists.datasets.base import Inputs, Ragged
from specialists.distillation import student_spec
from specialists.errors import InputError
from specialists.feasibility.shape import DataShape
from specialists.networks import (
    ARCHITECTURES,
    NetworkSpec,
    generalist_spec,
    n_parameters,
    outline,
    split_frozen,
)
from specialists.runtime import memory

BYTES = 20  # a parameter, its gradient, AdamW's two moments, and the best epoch's
BYTES_IN_TABLE = 12  # without a dense gradient, and with Adagrad's one moment
GIB = 2**30


def impossible_networks(config: Config, data: DataShape) -> Iterator[str]:
    """A line for each network of a resolved configuration that cannot be trained."""
    own = config.generalist
    for width in own.widths or (1,):
        spec = generalist_spec(own, data.n_classes, data.input_shape)
        spec = dataclasses.replace(spec, width=width)
        if spec.model not in ARCHITECTURES and not config.specialists.freeze:
            return  # the first stage to come builds it
        found = list(_untrainable("generalist", spec, own, data))
        found = found or list(_impossible_beside(config, spec, data))
        yield from found
        if found:
            return


def _impossible_beside(config: Config, generalist: NetworkSpec, data: DataShape) -> Iterator[str]:
    """The same for specialists and student of one generalist."""
    specialist = _specialist_spec(config, generalist)
    if config.specialists.start != "fresh" and specialist.width < generalist.width:
        yield (
            f"specialists.width, specialists.widen: {specialist.width} for a generalist of width "
            f"{generalist.width}; only specialists.start = 'fresh' allows narrower ones"
        )
    else:
        yield from _unfrozen(config, generalist, specialist)
        yield from _untrainable("specialists", specialist, config.specialists, data)
    yield from _impossible_student(config, generalist, data)


def _impossible_student(config: Config, generalist: NetworkSpec, data: DataShape) -> Iterator[str]:
    """A student of a given size is not built: how wide it is takes many networks to find."""
    own = config.student
    if own.width is not None:
        student = student_spec(generalist, own, data.kind)
        yield from _untrainable("student", student, own, data)
        return
    dense = own.size * n_parameters(outline(generalist), tables=False)
    table = (own.embedding_dim or 0) * (own.n_buckets or 0) if data.kind == "text" else 0
    needed = BYTES * dense + BYTES_IN_TABLE * table
    if needed > memory():
        yield _too_much(f"[student] (size {own.size:g}, a table of {table:,} numbers)", needed)


def _specialist_spec(config: Config, generalist: NetworkSpec) -> NetworkSpec:
    """A specialist of one class and a dustbin, at the width that is tried first."""
    own, width = config.specialists, generalist.width
    if generalist.model in ARCHITECTURES:
        width = own.width or max(1, round((own.widen or 1.0) * width))
    return dataclasses.replace(
        generalist,
        n_outputs=2,
        head_rank=None,
        width=width,
        n_buckets=own.n_buckets or generalist.n_buckets,
    )


def _unfrozen(config: Config, generalist: NetworkSpec, specialist: NetworkSpec) -> Iterator[str]:
    """A line where a frozen part does not exist, or is none that specialists can share."""
    own, freeze = config.specialists, config.specialists.freeze or ()
    try:
        lower = [split_frozen(outline(spec), freeze)[0] for spec in (generalist, specialist)]
    except InputError as error:
        yield error.in_a_line
        return
    shapes = [_shapes(part) for part in lower]
    if own.width is not None and shapes[0] != shapes[1]:
        yield (
            f"specialists.width = {own.width}: frozen parts ({', '.join(freeze)}) would have "
            "another width than the generalist's; freeze nothing, or leave the width unset"
        )


def _untrainable(section: str, spec: NetworkSpec, recipe: Recipe, data: DataShape) -> Iterator[str]:
    """A line if this network cannot be built, or needs more memory than there is."""
    try:
        network = outline(spec)
        total, dense = n_parameters(network), n_parameters(network, tables=False)
        needed = BYTES * dense + BYTES_IN_TABLE * (total - dense)
        if spec.model in ARCHITECTURES:
            needed += _activations(network, spec, min(recipe.batch_size or 1, data.n_train))
    except InputError as error:
        yield error.in_a_line
    except (ValueError, RuntimeError) as error:
        yield f"[{section}] describes a network that cannot be trained: {error}"
    else:
        if needed > memory():
            sizes = f"width {spec.width}, depth {spec.depth}, batches of {recipe.batch_size}"
            if spec.model == "hashed_text":
                sizes += f", a table of {spec.n_buckets:,} x {spec.embedding_dim:,}"
            yield _too_much(f"[{section}]", needed, f" ({sizes}: {total:,} parameters)")


def _activations(network: nn.Module, spec: NetworkSpec, n: int) -> int:
    """Bytes of what the layers give for ``n`` inputs in training, which their gradients need."""
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
    """The shapes of a batch normalisation in training; PyTorch's own takes seconds to tell them."""

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() == x.shape[1]:
            raise ValueError("a batch of one image of so few pixels has no variance")
        return x


def _no_inputs(spec: NetworkSpec, n: int) -> Inputs:
    if spec.model != "hashed_text":
        return torch.empty(n, *spec.input_shape, device="meta")
    values = torch.empty(n, dtype=torch.int32, device="meta")
    return Ragged(values, torch.empty(n + 1, dtype=torch.int64, device="meta"))


def _shapes(part: nn.Module | None) -> list[torch.Size]:
    return [] if part is None else [value.shape for value in part.state_dict().values()]


def _too_much(what: str, needed: float, how: str = "") -> str:
    has = f"this machine has {memory() / GIB:,.1f} GiB"
    return f"{what}{how} needs at least {needed / GIB:,.1f} GiB of memory to train; {has}"
