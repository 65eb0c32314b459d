"""What a network costs: parameters, and floating-point operations of one prediction."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from specialists.datasets.base import Inputs
from specialists.networks.blocks import HashedEmbedding
from specialists.networks.calls import outputs_of
from specialists.networks.given import GivenGeneralist

WEIGHTS_OF_BAG = 4  # place of per_sample_weights among an embedding bag's arguments after two


def n_parameters(network: nn.Module, tables: bool = True) -> int:
    """Number of parameters; without hashed embedding tables if ``tables`` is False."""
    hashed = [m.weight.numel() for m in network.modules() if isinstance(m, HashedEmbedding)]
    return sum(p.numel() for p in network.parameters()) - (0 if tables else sum(hashed))


def inference_flops(network: nn.Module, inputs: Inputs) -> float:
    """Mean floating-point operations of one prediction over the examples of ``inputs``.

    Matrix products and convolutions count two operations a multiply-add, as
    ``torch.utils.flop_counter`` does, an embedding bag one a summed number, two a weighted one.
    Element-wise operations and normalisations are not counted. Of a generalist of which only
    predictions are known it is what the user says, or NaN.
    """
    if isinstance(network, GivenGeneralist):
        return network.flops
    was_training = network.training
    network.eval()
    with torch.no_grad(), counted_flops(network) as counter:
        outputs_of(network, inputs)
    network.train(was_training)
    return counter.get_total_flops() / len(inputs)


@contextmanager
def counted_flops(network: nn.Module) -> Iterator[FlopCounterMode]:
    """Count what ``network`` computes in this context; ``get_total_flops()`` gives the number.

    Meanwhile the fused kernels of attention and recurrent layers, for which the counter has no
    formulas, are off.
    """
    bags = torch.ops.aten._embedding_bag, torch.ops.aten._embedding_bag_forward_only
    mapping = {
        **dict.fromkeys(bags, _bag_flops),
        torch.ops.aten.sparse_sampled_addmm: _sampled_flops,
    }
    fused = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in network.modules()):
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message="TF32")  # of Intel GPUs, whatever is set
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        yield stack.enter_context(FlopCounterMode(display=False, custom_mapping=mapping))


def _bag_flops(weight_shape, indices_shape, *args, out_shape=None, **kwargs) -> int:
    weighted = len(args) > WEIGHTS_OF_BAG and args[WEIGHTS_OF_BAG] is not None
    return (1 + weighted) * indices_shape[0] * weight_shape[1]


def _sampled_flops(places, first, second, *args, out_val=None, **kwargs) -> int:
    """Of the entries of a product of matrices that ``places`` names, a sparse matrix."""
    return 2 * places.values().numel() * first.shape[1]


_sampled_flops._get_raw = True  # pyright: ignore[reportFunctionMemberAccess]
