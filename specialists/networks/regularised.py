"""Two layers of many units that do not overfit: dropout, also of inputs, and bounded weights.

These are the regularisers of the large network in Hinton, Vinyals and Dean (2015), section 3, from
Hinton et al. (2012), "Improving neural networks by preventing co-adaptation of feature detectors":
units are dropped at random, and no unit's incoming weights are longer than a bound. The bound lets
training begin with a large learning rate without weights that grow for ever.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.errors import InputError
from specialists.networks.blocks import QuickDropout


class MaxNormLinear(nn.Linear):
    """A linear layer in which the incoming weights of no unit are longer than ``max_norm``.

    After a step of the optimiser a longer row of the weights is shortened to that length. This
    happens when the layer is next asked, so that no optimiser has to know of it. Asked again and
    again without gradients, as a teacher is, it does not look anew.
    """

    def __init__(self, in_features: int, out_features: int, max_norm: float) -> None:
        if not 0 < max_norm < math.inf:
            raise InputError(
                "the longest incoming weights of a unit are no positive finite number",
                got=max_norm,
                expected="max_norm > 0, for instance 3; None for no bound",
            )
        super().__init__(in_features, out_features)
        self.max_norm = max_norm
        self.may_have_moved = True

    def forward(self, input: Tensor) -> Tensor:
        """[n, in_features] to [n, out_features]."""
        learns = torch.is_grad_enabled()
        if learns or self.may_have_moved:
            self._shorten()
        self.may_have_moved = learns
        return F.linear(input, self.weight, self.bias)

    def _shorten(self) -> None:
        with torch.no_grad():
            norms = self.weight.norm(dim=1, keepdim=True)
            if bool((norms > self.max_norm).any()):
                self.weight.mul_((self.max_norm / norms).clamp_max(1.0))


class FlatPixels(nn.Module):
    """Inputs as vectors: uint8 images [n, ...] to floats [n, d] in [0, 1], others unscaled.

    The background of an image of ink, 0, stays 0, which is also what dropout leaves of a pixel.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        if flat.is_floating_point():
            return flat
        return flat.to(torch.get_default_dtype()).div_(255.0)


def regularised_mlp(
    n_classes: int,
    input_shape: Sequence[int],
    width: int = 1200,
    depth: int = 2,
    dropout: float = 0.5,
    input_dropout: float = 0.2,
    max_norm: float | None = None,
) -> nn.Sequential:
    """A perceptron of ``depth`` layers of ReLU units over images or feature vectors.

    A factory: ``generalist.factory = "specialists.networks.regularised:regularised_mlp"``.

    Parameters
    ----------
    n_classes : int
    input_shape : sequence of int
        Of one input: (d,), or (channels, height, width).
    width, depth : int
        Units in a layer, and number of layers.
    dropout, input_dropout : float
        Probability in [0, 1) that a hidden unit, or an input, is dropped.
    max_norm : float, optional
        Of the incoming weights of each hidden unit; None: no bound.
    """
    parts = OrderedDict[str, nn.Module](inputs=FlatPixels())
    parts["input_dropout"] = QuickDropout(input_dropout)
    n_in = math.prod(input_shape)
    for layer in range(1, depth + 1):
        bounded = max_norm is not None
        parts[f"hidden{layer}"] = (
            MaxNormLinear(n_in, width, max_norm) if bounded else nn.Linear(n_in, width)
        )
        parts[f"relu{layer}"] = nn.ReLU()
        parts[f"dropout{layer}"] = QuickDropout(dropout)
        n_in = width
    parts["head"] = nn.Linear(n_in, n_classes)
    return nn.Sequential(parts)
