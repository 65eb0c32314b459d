"""Architectures by name; heads, freezing, widening, cost, weights on disk."""

from specialists.networks.blocks import HashedEmbedding, Pixels, ResidualBlock
from specialists.networks.build import (
    ARCHITECTURES,
    NetworkSpec,
    build,
    outline,
    with_allowed_rank,
)
from specialists.networks.cost import inference_flops, n_parameters
from specialists.networks.heads import find_head, merge_bottleneck, specialise_head, swap_head
from specialists.networks.surgery import belongs, largest_width, split_frozen, widen
from specialists.networks.weights import (
    fitting,
    load_foreign_weights,
    load_network,
    read_model,
    save_network,
)

__all__ = [
    "ARCHITECTURES",
    "HashedEmbedding",
    "NetworkSpec",
    "Pixels",
    "ResidualBlock",
    "belongs",
    "build",
    "find_head",
    "fitting",
    "inference_flops",
    "largest_width",
    "load_foreign_weights",
    "load_network",
    "merge_bottleneck",
    "n_parameters",
    "outline",
    "read_model",
    "save_network",
    "specialise_head",
    "split_frozen",
    "swap_head",
    "widen",
    "with_allowed_rank",
]
