"""What a network costs: parameters, and floating-point operations of one prediction."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from specialists.datasets.base import Inputs
from specialists.networks.blocks import HashedEmbedding


def n_parameters(network: nn.Module, tables: bool = True) -> int:
    """Number of parameters; without hashed embedding tables if ``tables`` is False."""
    total = sum(p.numel() for p in network.parameters())
    if tables:
        return total
    return total - sum(
        m.weight.numel() for m in network.modules() if isinstance(m, HashedEmbedding)
    )


def inference_flops(network: nn.Module, inputs: Inputs) -> float:
    """Mean floating-point operations of one prediction over the examples of ``inputs``.

    Matrix products and convolutions count two operations a multiply-add, as
    ``torch.utils.flop_counter`` does, an embedding bag one a summed number. Element-wise
    operations and normalisations are not counted.
    """
    was_training = network.training
    network.eval()
    with torch.no_grad(), counted_flops() as counter:
        network(inputs)
    network.train(was_training)
    return counter.get_total_flops() / len(inputs)


def counted_flops() -> FlopCounterMode:
    """A context that counts what is computed in it; ``get_total_flops()`` tells how much."""
    bag = torch.ops.aten._embedding_bag, torch.ops.aten._embedding_bag_forward_only
    mapping = dict.fromkeys(bag, _bag_flops)
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _bag_flops(weight_shape, indices_shape, *args, out_shape=None, **kwargs) -> int:
    return indices_shape[0] * weight_shape[1]
