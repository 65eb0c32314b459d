"""A trained specialist, and its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from specialists.calibration import Calibration
from specialists.datasets.base import Inputs
from specialists.errors import InputError
from specialists.files import write_json
from specialists.networks import (
    Adapters,
    NetworkSpec,
    adapted,
    adapters_of,
    fill,
    fitting,
    n_parameters,
    outline,
    own_parameters,
    read_model,
    save_network,
    split_frozen,
)
from specialists.predictions import predict_outputs
from specialists.training import FitResult, TrainingCost

ADAPTERS = "adapters"  # of a description


@dataclass(frozen=True)
class Specialist:
    """A small model of a subset of the classes, with a dustbin for all the others.

    Parameters
    ----------
    network : nn.Module
        The part above the shared frozen trunk (all of it, where nothing is frozen).
    subset : int64 Tensor of shape (k,)
    calibration : Calibration
    cost : TrainingCost
        Of its training.
    """

    network: nn.Module
    subset: Tensor
    calibration: Calibration
    cost: TrainingCost

    def log_probs(self, features: Inputs) -> Tensor:
        """Log-probabilities [n, k + 1] of trunk features, dustbin last, natural prior."""
        return self.calibration.log_probs(predict_outputs(self.network, features))


@dataclass(frozen=True)
class TrainedSpecialist(Specialist):
    """A specialist, and how its training went.

    Parameters
    ----------
    natural_share, training_share : float
        Of the subset's examples, in the training data and in its own epochs.
    result : FitResult
    """

    natural_share: float
    training_share: float
    result: FitResult


def save_specialist(
    specialist: TrainedSpecialist, spec: NetworkSpec, freeze: Sequence[str], folder: Path
) -> None:
    """Write ``calibration.json``, weights and ``model.json``.

    ``spec`` describes the whole network, ``freeze`` names its frozen parts, which are not written.
    Of one with adapters nothing but these and its head is written.
    """
    adapters = adapters_of(specialist.network)
    own = n_parameters if adapters is None else own_parameters
    calibration = specialist.calibration.to_dict()
    shares = {
        "natural_share": specialist.natural_share,
        "training_share": specialist.training_share,
    }
    write_json(folder / "calibration.json", {**calibration, **shares})
    save_network(
        specialist.network,
        spec,
        folder,
        subset=specialist.subset.tolist(),
        freeze=list(freeze),
        calibration=calibration,
        parameters=own(specialist.network),
        **({} if adapters is None else {ADAPTERS: adapters.to_dict()}),
        **specialist.result.to_dict(),
    )


def load_specialist(folder: Path, upper: nn.Module | None = None) -> Specialist:
    """What :func:`save_specialist` wrote, without the frozen parts.

    One with adapters stands on the ``upper`` part of its generalist, above the trunk, and shares
    its tensors.

    Raises
    ------
    InputError
        If it has adapters, and no generalist is given.
    """
    spec, about, tensors = read_model(folder)
    if ADAPTERS in about and upper is None:
        what = "this specialist is a part of its own on a generalist, and nothing without it"
        raise InputError(what, where=folder, fix="load the run")
    with fitting(folder):
        subset = torch.tensor(about["subset"], dtype=torch.int64)
        if upper is not None and ADAPTERS in about:
            adapters = Adapters.from_dict(about[ADAPTERS])
            network = adapted(upper, spec.n_classes, subset, adapters)
        else:
            _, network = split_frozen(outline(spec), about["freeze"])
        fill(network, tensors)
        calibration = Calibration(**about["calibration"])
        return Specialist(network.eval(), subset, calibration, TrainingCost.from_dict(about))
