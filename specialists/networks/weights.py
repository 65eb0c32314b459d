"""Networks on disk: a description in JSON and weights as safetensors, data and never code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from specialists.errors import InputError
from specialists.networks.build import NetworkSpec, build
from specialists.runs import read_json, read_tensors, write_json, write_tensors


def save_network(network: nn.Module, spec: NetworkSpec, folder: Path, **extra: Any) -> None:
    """Write ``weights.safetensors``, then ``model.json`` with the description and ``extra``."""
    state = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    write_tensors(folder / "weights.safetensors", state)
    write_json(folder / "model.json", {"network": spec.to_dict(), **extra})


def load_network(folder: Path) -> tuple[nn.Module, NetworkSpec, dict[str, Any]]:
    """The network of a folder in evaluation mode, its description and what else was written."""
    description = read_json(folder / "model.json")
    spec = NetworkSpec.from_dict(description.pop("network"))
    network = build(spec)
    network.load_state_dict(read_tensors(folder / "weights.safetensors"))
    return network.eval(), spec, description


def load_foreign_weights(network: nn.Module, file: Path) -> None:
    """Load a user's weights, safetensors or a plain state dict, without executing anything.

    Raises
    ------
    InputError
        If the file is missing or is no state dict, or if keys or shapes differ: all are named.
    """
    state = _read_state(file)
    own = network.state_dict()
    wrong = [f"missing {key} {tuple(own[key].shape)}" for key in own.keys() - state.keys()]
    wrong += [f"unknown {key} {tuple(state[key].shape)}" for key in state.keys() - own.keys()]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    if wrong:
        raise InputError(
            "these weights do not fit the generalist",
            where=file,
            got="\n       ".join(sorted(wrong)[:20]),
            fix="set generalist.model or .factory, .width, .depth ... to what they were made with",
        )
    network.load_state_dict(state)


def _read_state(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise InputError("no such file of weights", where="generalist.weights", got=file)
    try:
        if file.suffix == ".safetensors":
            return read_tensors(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            "this file of weights cannot be read as plain tensors",
            where=file,
            got=f"a file that gives {type(error).__name__}",
            expected="safetensors, or a state dict saved by torch.save",
        ) from None
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError("this file holds no state dict", where=file, got=type(state).__name__)
    return state
