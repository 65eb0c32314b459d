"""How much of the disk does a network of `languages` take, and how long is it loaded?

A generalist is the result of a training and, under another name, of its stage; a specialist is one
alone; a rival is only there to be compared with. "before" writes what the program wrote: every row
of the table in single precision, the generalist twice, a rival's weights. Seconds are of the
processor, with the checksum; the best round counts.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from specialists.datasets.base import Ragged
from specialists.files import (
    artifacts,
    copy_file,
    disk_use,
    sha256,
    write_array,
    write_sealed,
)
from specialists.networks import HashedEmbedding, NetworkSpec, build_for, load_network, save_network

from .markdown_tables import Line
from .seconds import best_of

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
N_ROWS, N_CLASSES = 44_581, 239  # of validation and test of `languages`
HASHES_A_ROW = 1.0147  # reads so many rows of 2^20 that 63.7% are read once or more


def text_network(n_buckets: int) -> NetworkSpec:
    """The network of `languages`, with a table of so many rows."""
    return NetworkSpec("hashed_text", N_CLASSES, n_buckets=n_buckets)


def disk_and_loads(quick: bool) -> list[Line]:
    """One line for each kind of network."""
    n_large, n_small = (2**12, 2**10) if quick else (2**20, 2**18)
    n_rows = N_ROWS // 256 if quick else N_ROWS
    large, small = (text_network(n) for n in (n_large, n_small))
    torch.manual_seed(0)
    hashes = torch.randint(2**31 - 1, (round(HASHES_A_ROW * n_large),), dtype=torch.int32)
    texts = Ragged(hashes, torch.arange(len(hashes) + 1))
    predictions = np.zeros((n_rows, N_CLASSES), dtype=np.float32)
    return [
        _line("generalist", large, texts, 2, 1 if quick else 4),
        _line("specialist", small, texts, 1, 1 if quick else 4),
        _line("rival", large, texts, 1, 1 if quick else 4, predictions),
    ]


def _line(
    name: str,
    spec: NetworkSpec,
    texts: Ragged,
    n_copies: int,
    n_rounds: int,
    predictions: np.ndarray | None = None,
) -> Line:
    network = trained(spec, texts)
    with tempfile.TemporaryDirectory() as place:
        before, after = Path(place, "before"), Path(place, "after")
        for i in range(n_copies):
            write_whole(network, spec, before / str(i))
        save_network(network, spec, after / "0")
        for i in range(1, n_copies):
            for file in (WEIGHTS, DESCRIPTION):
                copy_file(after / "0" / file, after / str(i) / file)
        jobs = {
            "before": partial(load_again, before / "0"),
            "after": partial(load_again, after / "0"),
        }
        times = best_of(jobs, n_rounds)
        if predictions is not None:
            (after / "0" / WEIGHTS).unlink()
            write_array(after / "0" / "log_probs.npy", predictions)
        sizes = [disk_use(folder) / 1e6 for folder in (before, after)]
    embedding = network.get_submodule("embedding")
    assert isinstance(embedding, HashedEmbedding)
    share = float((embedding.weight != 0).any(1).double().mean())
    kept = predictions is None
    return {
        "network": name,
        "rows read": f"{share:.0%}",
        "before, MB": f"{sizes[0]:.1f}",
        "after, MB": f"{sizes[1]:.1f}",
        "ratio": f"{sizes[0] / sizes[1]:.1f}",
        "before, s a load": f"{times['before']:.3f}",
        "after, s a load": f"{times['after']:.3f}" if kept else "",
        "ratio of loads": f"{times['before'] / times['after']:.1f}" if kept else "",
    }


def trained(spec: NetworkSpec, texts: Ragged) -> nn.Module:
    """A network as a training on these texts leaves it: rows that none reads are zero."""
    network = build_for(spec, texts)
    for module in network.modules():
        if isinstance(module, HashedEmbedding):
            module.round()
    return network


def write_whole(network: nn.Module, spec: NetworkSpec, folder: Path) -> None:
    """What `save_network` did."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / WEIGHTS)
    description = {"network": spec.to_dict(), "weights": sha256(folder / WEIGHTS)}
    write_sealed(folder / DESCRIPTION, description)


def load_again(folder: Path) -> nn.Module:
    """A network whose checksum is not remembered."""
    artifacts.forget_hashes()
    return load_network(folder)[0]
