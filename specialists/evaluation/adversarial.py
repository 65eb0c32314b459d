"""Inputs moved a little, so that a network errs where it can.

One step in the sign of the gradient of the loss is FGSM (Goodfellow et al. 2015, "Explaining and
Harnessing Adversarial Examples"); several from a random start, each brought back into the box, are
PGD (Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.datasets.base import Inputs
from specialists.errors import InputError
from specialists.networks.blocks import ScaledPixels

ROWS = 1024
GREY_LEVELS = 127.5  # of uint8 images, in the units in which networks see them
STEP = 2.5  # of PGD: times the box over the number of steps


def adversarial_inputs(
    network: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    epsilon: float,
    *,
    n_steps: int = 1,
    seed: int = 0,
) -> Tensor:
    """Inputs at most ``epsilon`` away in every number, on which the loss of a network is large.

    Parameters
    ----------
    network : nn.Module
        Maps inputs to logits.
    inputs : Tensor of n rows
        Floats, or uint8 images.
    labels : int64 Tensor of shape (n,)
    epsilon : float
        In the units of the inputs: of uint8 images, grey levels of 255.
    n_steps : int
        1: one step from the inputs themselves (FGSM). More: steps of 2.5 ``epsilon`` over their
        number, from a random start (PGD).
    seed : int
        Of the start.

    Returns
    -------
    float Tensor of n rows
        Images as networks see them, in [-1, 1].

    Raises
    ------
    InputError
        If epsilon is negative or not finite; if no small step leads from such inputs to others, or
        the network treats images of floats otherwise than those of bytes.
    """
    if not 0 <= epsilon < math.inf:
        raise InputError("this is no size of a step", where="epsilon", got=epsilon, expected=">= 0")
    x = continuous(network, inputs)
    bytes_in = x is not inputs
    radius = epsilon / GREY_LEVELS if bytes_in else epsilon
    step = radius if n_steps == 1 else STEP * radius / n_steps
    start = torch.zeros_like(x)
    if n_steps > 1:
        generator = torch.Generator().manual_seed(seed)
        start = (torch.rand(x.shape, generator=generator) * 2 - 1) * radius
    network.eval()
    device = getattr(next(network.parameters(), None), "device", "cpu")
    parts = []
    for rows in torch.arange(len(x)).split(ROWS):
        centre, moved = x[rows].to(device), (x[rows] + start[rows]).to(device)
        for _ in range(n_steps):
            moved = moved + step * _gradient(network, moved, labels[rows].to(device)).sign()
            moved = centre + (moved - centre).clamp(-radius, radius)
            moved = moved.clamp(-1, 1) if bytes_in else moved
        parts.append(moved.cpu())
    return torch.cat(parts)


def continuous(network: nn.Module, inputs: Inputs) -> Tensor:
    """The inputs as floats that small steps can change; see :func:`adversarial_inputs`."""
    if not isinstance(inputs, Tensor):
        raise InputError(
            "a text has no small step: its n-grams are there or not",
            got="inputs of n-grams",
            expected="features or images",
            fix="leave epsilon None, and look at the answers that an augmentation changes",
        )
    if inputs.is_floating_point():
        return inputs
    if inputs.dtype != torch.uint8:
        raise InputError("whole numbers have no small step", got=str(inputs.dtype))
    pixels, sample = ScaledPixels()(inputs), torch.arange(min(2, len(inputs)))
    device = getattr(next(network.parameters(), None), "device", "cpu")
    with torch.no_grad():
        of_bytes = network.eval()(inputs[sample].to(device))
        of_floats = network(pixels[sample].to(device))
    if not torch.allclose(of_bytes, of_floats, 1e-3, 1e-3):
        raise InputError(
            "this network treats images of floats otherwise than those of bytes",
            expected="pixels / 127.5 - 1 to give the same outputs as the bytes",
        )
    return pixels


def _gradient(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    x = inputs.detach().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(network(x), labels, reduction="sum"), x)[0]
