"""How sure a model should be: its temperature, and a specialist's dustbin bias.

Both are fitted on validation data by maximum likelihood. A specialist's dustbin logit is first
corrected for the prior that it was trained under,

    z_d  <-  z_d + log(((1 - f) / f) (s / (1 - s))) + bias,      log p = log softmax(z / T),

with s the share of subset examples in training and f their natural share. The paper's wording,
read literally, gives log(s / f), which differs by log((1 - f) / (1 - s)).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from specialists.errors import CalibrationWarning

BOUNDS_LOG_TEMPERATURE = (math.log(0.05), math.log(20.0))
LOG_TEMPERATURE_TOLERANCE = 1e-3
BOUNDS_BIAS = (-20.0, 20.0)


@dataclass(frozen=True)
class Calibration:
    """Turns a specialist's logits into log-probabilities under the natural prior.

    Parameters
    ----------
    correction : float
        Formula for the dustbin logit, nats.
    temperature : float
    dustbin_bias : float
        Added to the corrected dustbin logit, nats.
    """

    correction: float
    temperature: float = 1.0
    dustbin_bias: float = 0.0

    def log_probs(self, logits: Tensor) -> Tensor:
        """Log-probabilities [n, k + 1], dustbin last, of logits of the same shape."""
        shifted = logits.clone()
        shifted[:, -1] += self.correction + self.dustbin_bias
        return F.log_softmax(shifted / self.temperature, dim=-1)

    def to_dict(self) -> dict[str, Any]:
        return {
            "temperature": self.temperature,
            "dustbin_bias": self.dustbin_bias,
            "correction": self.correction,
        }


def dustbin_correction(
    training_share: float, natural_share: float, formula: str = "exact"
) -> float:
    """What to add to the dustbin logit of a specialist, in nats.

    Parameters
    ----------
    training_share : float
        s, share of subset examples in training, in (0, 1).
    natural_share : float
        f, their share in the training data, in (0, 1).
    formula : {"exact", "paper"}
        log(((1 - f) / f) (s / (1 - s))), or the paper's log(s / f).

    Examples
    --------
    >>> round(dustbin_correction(0.5, 0.1), 3)  # log 9
    2.197
    """
    s, f = training_share, natural_share
    if formula == "paper":
        return math.log(s / f)
    return math.log((1 - f) / f) + math.log(s / (1 - s))


def fit_temperature(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> float:
    """Argmin over T of the mean of -log softmax(logits / T)_label (Guo et al. 2017, section 4.2).

    The objective is convex in 1 / T; its minimum is found to one part in a thousand.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
        Or log-probabilities.
    labels : int64 Tensor of shape (n,)
    weights : Tensor of shape (n,), optional
        Importance of each example.
    """

    def objective(log_temperature: float) -> float:
        return tempered_loss(logits, labels, math.exp(log_temperature), weights)

    options = {"xatol": LOG_TEMPERATURE_TOLERANCE}
    result = minimize_scalar(
        objective, bounds=BOUNDS_LOG_TEMPERATURE, method="bounded", options=options
    )
    return math.exp(result.x)


def tempered_loss(
    logits: Tensor, labels: Tensor, temperature: float, weights: Tensor | None = None
) -> float:
    """Weighted mean of -log softmax(logits / T)_label, in nats."""
    scaled = logits / temperature
    losses = scaled.logsumexp(-1) - scaled.gather(1, labels[:, None]).squeeze(1)
    if weights is None:
        return losses.mean(dtype=torch.float64).item()
    return ((losses * weights).sum(dtype=torch.float64) / weights.sum()).item()


def fit_calibration(logits: Tensor, labels: Tensor, correction: float) -> Calibration:
    """Temperature and dustbin bias of a specialist, by maximum likelihood from the correction.

    Parameters
    ----------
    logits : Tensor of shape (n, k + 1)
        On validation examples in their natural proportion, not corrected.
    labels : int64 Tensor of shape (n,)
        Places in the subset; k for the dustbin.
    correction : float

    Warns
    -----
    CalibrationWarning
        If there are no examples of the subset, or none of the dustbin: the formula stands.
    """
    in_dustbin = labels == logits.shape[1] - 1
    if not in_dustbin.any() or in_dustbin.all():
        warnings.warn(
            f"a specialist keeps the formula's dustbin correction of {correction:.3f} nats: "
            "validation data lack its subset or everything else",
            CalibrationWarning,
            stacklevel=2,
        )
        return Calibration(correction)
    dustbin = torch.zeros(logits.shape[1])
    dustbin[-1] = 1.0
    corrected = logits + correction * dustbin

    def log_probs(parameters: Tensor) -> Tensor:
        log_temperature, bias = parameters.to(logits.dtype)
        return F.log_softmax((corrected + bias * dustbin) * torch.exp(-log_temperature), dim=-1)

    bounds = [BOUNDS_LOG_TEMPERATURE, BOUNDS_BIAS]
    log_temperature, bias = _fit(log_probs, labels, [0.0, 0.0], bounds)
    return Calibration(correction, math.exp(log_temperature), bias)


def _fit(
    log_probs: Callable[[Tensor], Tensor],
    labels: Tensor,
    start: list[float],
    bounds: list[tuple[float, float]],
) -> list[float]:
    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        loss = F.nll_loss(log_probs(parameters), labels)
        (gradient,) = torch.autograd.grad(loss, parameters)
        return loss.item(), gradient.double().numpy()

    result = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return [float(value) for value in result.x]
