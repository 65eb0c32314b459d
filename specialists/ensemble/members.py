"""A generalist and its specialists as one model that predicts.

Specialists run only on the examples for which they are active, on the outputs of the trunk that
they share with the generalist.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from specialists.datasets.base import Inputs
from specialists.ensemble.rules import Rule, active_specialists, join
from specialists.networks import inference_flops, n_parameters
from specialists.predictions import predict_outputs
from specialists.runs import read_json
from specialists.specialist import Specialist
from specialists.trunk import features_of
from specialists.workspace import Workspace

ROWS_AT_A_TIME = 8192


@dataclass(frozen=True)
class Ensemble:
    """A generalist and its specialists, ready to predict.

    Parameters
    ----------
    lower : nn.Module or None
        Frozen part that all share.
    upper : nn.Module
        The rest of the generalist.
    temperature : float
        The generalist's.
    specialists : sequence of Specialist
    n_classes : int
    """

    lower: nn.Module | None
    upper: nn.Module
    temperature: float
    specialists: Sequence[Specialist]
    n_classes: int

    @classmethod
    def open(cls, workspace: Workspace) -> Ensemble:
        """The ensemble of a run whose specialists are trained."""
        from specialists.pipelines.specialist_tasks import load_specialists
        from specialists.pipelines.trunk_files import split_generalist

        lower, upper = split_generalist(workspace)
        temperature = read_json(workspace.path("train-generalist", "calibration.json"))
        specialists = load_specialists(workspace)
        for specialist in specialists:
            specialist.network.to(workspace.device)
        n_classes = workspace.dataset.n_classes
        return cls(lower, upper, float(temperature["temperature"]), specialists, n_classes)

    @property
    def subsets(self) -> list[Tensor]:
        return [specialist.subset for specialist in self.specialists]

    def of(self, members: Sequence[int] | None) -> Ensemble:
        """The same with these specialists only; None: with all."""
        if members is None:
            return self
        return replace(self, specialists=[self.specialists[m] for m in members])

    @property
    def parameters(self) -> int:
        """Of the generalist and all specialists; a shared trunk counts once."""
        lower = 0 if self.lower is None else n_parameters(self.lower)
        members = [self.upper, *(specialist.network for specialist in self.specialists)]
        return lower + sum(n_parameters(member) for member in members)

    def features(self, inputs: Inputs, description: str | None = None) -> Inputs:
        """What generalist's and specialists' upper parts see."""
        return features_of(self.lower, inputs, description)

    def generalist_log_probs(self, features: Inputs) -> Tensor:
        """Calibrated log-probabilities [n, C]."""
        return F.log_softmax(predict_outputs(self.upper, features) / self.temperature, dim=-1)

    def specialist_log_probs(self, features: Inputs, active: Tensor | None = None) -> list[Tensor]:
        """Log-probabilities [n, k_m + 1] of every specialist, computed only where it is active.

        Rows where it is not hold the uniform distribution and must not be used.
        """
        outputs = []
        for m, specialist in enumerate(self.specialists):
            if active is None:
                outputs.append(specialist.log_probs(features))
                continue
            rows = active[:, m].nonzero().squeeze(1)
            k = len(specialist.subset) + 1
            out = torch.full((len(active), k), -math.log(k))
            if len(rows):
                out[rows] = specialist.log_probs(features[rows])
            outputs.append(out)
        return outputs

    def log_probs(self, inputs: Inputs, rule: Rule) -> Tensor:
        """Joined log-probabilities [n, C] of inputs, specialists run only where they vote."""
        parts = []
        for rows in torch.arange(len(inputs)).split(ROWS_AT_A_TIME):
            features = self.features(inputs[rows])
            generalist = self.generalist_log_probs(features)
            if rule.members == ():
                parts.append(generalist)
                continue
            active = active_specialists(generalist, self.subsets, rule)
            specialists = self.specialist_log_probs(features, active)
            parts.append(join(generalist, specialists, self.subsets, active, rule))
        return torch.cat(parts)

    def flops(self, inputs: Inputs) -> tuple[float, Tensor]:
        """FLOPs of one prediction of the generalist, and of each specialist beyond the trunk."""
        features = inputs
        shared = 0.0
        if self.lower is not None:
            shared = inference_flops(self.lower, inputs)
            with torch.no_grad():
                features = self.lower(inputs)
        generalist = shared + inference_flops(self.upper, features)
        each = [inference_flops(member.network, features) for member in self.specialists]
        return generalist, torch.tensor(each, dtype=torch.float64)
