"""A trained shared specialist, and its folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from specialists.datasets.base import Inputs
from specialists.files import write_json
from specialists.networks import (
    NetworkSpec,
    fitting,
    inference_flops,
    load_network,
    n_parameters,
    save_network,
)
from specialists.predictions import predict_outputs
from specialists.probability import PADDING, check_shortlists, tempered_log_softmax
from specialists.shared.shortlist_network import (
    ShortlistedInputs,
    ShortlistNetwork,
    shortlist_logits,
)
from specialists.training import FitResult, TrainingCost


@dataclass(frozen=True, kw_only=True)
class SharedSpecialist:
    """One network over all classes that is asked about a few classes of each row.

    Parameters
    ----------
    network : nn.Module
        Maps n inputs to logits of shape (n, C).
    n_classes : int
        C.
    shortlist_temperature, head_temperature : float
        By which logits are divided where a shortlist is asked about, and where all classes are.
    cost : TrainingCost
        Of its training.
    """

    network: nn.Module
    n_classes: int
    shortlist_temperature: float
    head_temperature: float
    cost: TrainingCost

    @cached_property
    def scorer(self) -> ShortlistNetwork:
        """The network as one that answers for shortlists, with the same weights."""
        return ShortlistNetwork(self.network, self.n_classes).eval()

    def shortlist_log_probs(self, inputs: Inputs, classes: Tensor) -> Tensor:
        """Log-probabilities [n, K] of the classes of each row's shortlist, which sum to 1.

        ``classes`` are int64 of shape (n, K), in increasing order, padded with -1; padding has
        -inf.
        """
        check_shortlists(classes, len(inputs), self.n_classes, "the shortlists")
        logits = shortlist_logits(self.scorer, inputs, classes)
        logits = logits.masked_fill_(classes == PADDING, -float("inf"))
        return tempered_log_softmax(logits, self.shortlist_temperature)

    def log_probs(self, inputs: Inputs) -> Tensor:
        """Log-probabilities [n, C] of all classes."""
        return tempered_log_softmax(predict_outputs(self.network, inputs), self.head_temperature)

    def shortlist_flops(self, inputs: Inputs, classes: Tensor) -> float:
        """Mean floating-point operations of one row's shortlist, for some rows."""
        return inference_flops(self.scorer, ShortlistedInputs(inputs, classes))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class TrainedShared(SharedSpecialist):
    """A shared specialist, and how its training went."""

    result: FitResult


def save_shared(shared: TrainedShared, spec: NetworkSpec, folder: Path) -> None:
    """Write ``calibration.json``, weights and ``model.json``; ``spec`` describes the network."""
    calibration = {
        "shortlist_temperature": shared.shortlist_temperature,
        "head_temperature": shared.head_temperature,
    }
    write_json(folder / "calibration.json", calibration)
    save_network(
        shared.network,
        spec,
        folder,
        shared=True,
        calibration=calibration,
        parameters=n_parameters(shared.network),
        **shared.result.to_dict(),
    )


def load_shared(folder: Path) -> SharedSpecialist:
    """What :func:`save_shared` wrote.

    Raises as :func:`specialists.networks.load_network` does.
    """
    network, spec, about = load_network(folder)
    with fitting(folder):
        return SharedSpecialist(
            network=network,
            n_classes=spec.n_classes,
            shortlist_temperature=float(about["calibration"]["shortlist_temperature"]),
            head_temperature=float(about["calibration"]["head_temperature"]),
            cost=TrainingCost.from_dict(about),
        )
