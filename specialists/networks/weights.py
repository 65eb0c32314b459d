"""Networks on disk: a description in JSON and weights as safetensors, data and never code.

``model.json`` holds the SHA-256 of its weights and of itself, so that a model's folder that was
copied elsewhere tells damage and mixed parts. A network of a factory is built only where somebody
vouches for that function (:mod:`specialists.files.trust`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from specialists.errors import DamagedError, InputError
from specialists.files import (
    check_file,
    check_trusted,
    dense,
    read_sealed,
    read_tensors,
    sha256,
    write_sealed,
    write_tensors,
)
from specialists.large_tables import zero_table
from specialists.networks.build import ARCHITECTURES, BUILDERS, NetworkSpec, build, outline
from specialists.networks.given import GivenGeneralist
from specialists.networks.save_pretrained import TRANSFORMER

Description = dict[str, Any]  # what model.json says beside the network's architecture

UNFIT = (LookupError, ArithmeticError, TypeError, ValueError, RuntimeError, AttributeError)
GIVEN = "given"  # of a description: there is no network, only predictions
WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"


def save_network(network: nn.Module, spec: NetworkSpec, folder: Path, **extra: Any) -> None:
    """Write ``weights.safetensors``, then ``model.json`` with the description and ``extra``."""
    state = network.state_dict()
    write_tensors(folder / WEIGHTS, state)
    description = {"network": spec.to_dict(), **extra, "weights": sha256(folder / WEIGHTS)}
    write_sealed(folder / DESCRIPTION, description)


def load_network(folder: Path) -> tuple[nn.Module, NetworkSpec, Description]:
    """The network of a folder in evaluation mode, its architecture and what else was written.

    Raises
    ------
    DamagedError
        If a file is missing, is not as it was written, or does not fit the others.
    InputError
        If the description names a function that nobody vouches for.
    """
    spec, description, tensors = read_model(folder)
    if description.get(GIVEN):
        with fitting(folder):
            return GivenGeneralist(description["inference_flops"]).eval(), spec, description
    ours = spec.model in ARCHITECTURES
    if spec.model == TRANSFORMER:  # it is built with memory, since not all of it is in the file
        with fitting(folder), torch.device("meta"):
            _check_shapes(build(spec), tensors, folder)
    with fitting(folder) if ours else nullcontext():
        network = outline(spec)
    with fitting(folder):
        if ours:
            _check_shapes(network, tensors, folder)
        fill(network, tensors)
    return network.eval(), spec, description


def blank(spec: NetworkSpec) -> nn.Module:
    """The network in evaluation mode with zeros as weights, for its operations to be counted.

    That of a factory has the weights it is built with.
    """
    network = outline(spec)
    state = network.state_dict()
    if any(value.is_meta for value in state.values()):
        zeros = {name: torch.zeros_like(value, device="cpu") for name, value in state.items()}
        network.load_state_dict(zeros, assign=True)
    return network.eval()


def fill(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a network its weights, as copies in its own types and layout of memory.

    A network without memory (:func:`~specialists.networks.build.outline`) gets some, so that
    nothing is drawn which is then overwritten.
    """
    own = network.state_dict()
    if any(value.is_meta for value in own.values()):
        copies = {k: _laid_out(tensors[k], like) for k, like in own.items() if k in tensors}
        network.load_state_dict({**tensors, **copies}, assign=True)
    else:
        network.load_state_dict({name: dense(value) for name, value in tensors.items()})


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """A copy of ``value`` in the type and layout of ``like``."""
    if value.is_sparse and like.is_contiguous():
        return dense(value, like.dtype)
    if like.dim() == 2 and like.is_contiguous():
        copied = zero_table(like.shape, like.dtype)
    else:
        copied = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
    return copied.copy_(dense(value) if value.is_sparse else value)


def read_spec(folder: Path) -> NetworkSpec:
    """The architecture of a folder's network, whose weights are neither read nor checked.

    Raises as :func:`load_network` does.
    """
    return _described(folder)[0]


def read_model(folder: Path) -> tuple[NetworkSpec, Description, dict[str, Tensor]]:
    """What describes the network of a folder, what else was written, and the weights.

    Tables are as :func:`~specialists.files.read_tensors` finds them; :func:`fill` takes them so.
    Raises as :func:`load_network` does; nothing is built.
    """
    spec, description = _described(folder)
    check_file(folder / WEIGHTS, description.pop("weights", None))
    tensors = read_tensors(folder / WEIGHTS, whole=False)
    fixed = spec.model in ARCHITECTURES and not description.get(GIVEN)
    if fixed and spec.depth > len(tensors):
        raise _unfitting(folder, f"{spec.depth} layers and {len(tensors)} tensors")
    return spec, description, tensors


def _described(folder: Path) -> tuple[NetworkSpec, Description]:
    file = folder / DESCRIPTION
    if not file.is_file():
        raise DamagedError(
            "there is no model here",
            where=file,
            fix="name a model's folder, or the run folder that holds it",
        )
    description = read_sealed(file)
    with fitting(folder):
        spec = NetworkSpec.from_dict(description.pop("network"))
        if spec.model not in BUILDERS:
            check_trusted(spec.model, spec.options, file)
    return spec, description


@contextmanager
def fitting(folder: Path) -> Iterator[None]:
    """Turn errors of parts that do not fit together into a DamagedError."""
    try:
        yield
    except (InputError, OSError):
        raise
    except UNFIT as error:
        lines = str(error).strip().splitlines() or [""]
        raise _unfitting(folder, f"{type(error).__name__}: {lines[0]}") from None


def _check_shapes(network: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Compare a network's shapes with those of its weights, before it takes any memory."""
    built, stored = (
        {(name, tuple(value.shape)) for name, value in state.items()}
        for state in (network.state_dict(), tensors)
    )
    if built != stored:
        raise _unfitting(folder, f"other shapes in {min(built ^ stored)[0]}")


def _unfitting(folder: Path, got: str) -> DamagedError:
    return DamagedError(
        "the description of this model does not fit its weights, or is none",
        where=folder,
        got=got,
        fix="copy the folder again from where it came, or make it again",
    )
