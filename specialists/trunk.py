"""The frozen lower parts that all specialists share, with their outputs computed once.

Without augmentation the outputs of a frozen part never change: they are computed once for all
examples. With augmentation they are computed batch by batch, without gradients. Where nothing is
frozen, the inputs themselves are the features.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from specialists.datasets.base import Inputs, Ragged, rows_between
from specialists.networks import TransformerTrunk, outputs_of
from specialists.predictions import BATCH_SIZE, predict_outputs
from specialists.runtime import Progress, progress

MOST_BYTES = 2**32  # of a transformer's features on the disk


class Stacked(nn.Module):
    """A frozen lower part below a trained upper one."""

    def __init__(self, lower: nn.Module, upper: nn.Module) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper

    def forward(self, inputs: Inputs) -> Tensor:
        with torch.no_grad():
            features = outputs_of(self.lower, inputs)
        return outputs_of(self.upper, features)

    def train(self, mode: bool = True) -> Stacked:
        super().train(mode)
        self.lower.eval()
        return self


@dataclass(frozen=True)
class Trunk:
    """What specialists learn from.

    Parameters
    ----------
    lower : nn.Module or None
        The shared frozen part; None where nothing is frozen.
    on_the_fly : bool
        Whether ``train`` holds raw inputs that ``lower`` has yet to see.
    train, validation : Tensor, Ragged or NamedTensors
        Features of the training and validation inputs.
    """

    lower: nn.Module | None
    on_the_fly: bool
    train: Inputs
    validation: Inputs

    @classmethod
    def from_inputs(
        cls, lower: nn.Module | None, train: Inputs, validation: Inputs, augmented: bool = False
    ) -> Trunk:
        """The features of all inputs; those of augmented training inputs are left for later.

        So are those of a transformer, a vector a token, where they would take too much room.
        """
        if lower is None:
            return cls(None, False, train, validation)
        held_out = predict_features(lower, validation)
        on_the_fly = augmented or _too_large(held_out, train)
        if not on_the_fly:
            train = predict_features(lower, train, description="features")
        return cls(lower, on_the_fly, train, held_out)

    def stacked(self, upper: nn.Module) -> nn.Module:
        """What is trained: ``upper``, on top of ``lower`` where that runs on the fly."""
        if self.lower is None or not self.on_the_fly:
            return upper
        return Stacked(self.lower, upper)

    def unstacked(self, network: nn.Module) -> nn.Module:
        """The upper part again."""
        return network.upper if isinstance(network, Stacked) else network


def predict_features(trunk: nn.Module, inputs: Inputs, *, description: str | None = None) -> Inputs:
    """What a trunk gives for every row, on the CPU: as :func:`predict_outputs`, or rows of vectors.

    A transformer's trunk gives a vector for each token.
    """
    if not isinstance(trunk, TransformerTrunk):
        return predict_outputs(trunk, inputs, description=description)
    device, blocks = next(trunk.parameters()).device, []
    bars = progress(description, len(inputs)) if description else nullcontext(Progress())
    with torch.no_grad(), bars as bar:
        for start in range(0, len(inputs), BATCH_SIZE):
            stop = min(start + BATCH_SIZE, len(inputs))
            hidden = trunk(rows_between(inputs, start, stop).to(device))
            blocks.append(hidden.float().to("cpu"))
            bar.advance(stop - start)
    return Ragged.concatenated(blocks)


def _too_large(features: Inputs, train: Inputs) -> bool:
    """Whether a vector of each token of the training inputs takes more than there is room for."""
    if not (isinstance(features, Ragged) and isinstance(train, Ragged)):
        return False
    return len(train.values) * features.values[:1].nbytes > MOST_BYTES


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    """Whether two modules have the same names, shapes and weights."""
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(_same(ours[k], theirs[k]) for k in ours)


def _same(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    is_one = ours.data_ptr() == theirs.data_ptr() and ours.stride() == theirs.stride()
    return (is_one and ours.device == theirs.device) or torch.equal(ours.cpu(), theirs.cpu())
