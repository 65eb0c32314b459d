"""How sure a model should be: its temperature, and a specialist's dustbin bias.

Both are fitted on validation data. A specialist's dustbin logit is first corrected for the prior
that it was trained under (METHOD.md (24), (25)),

    z_d  <-  z_d + log(((1 - f) / f) (s / (1 - s))) + bias,      log p = log softmax(z / T),

with s the share of subset examples in training and f their natural share. The paper's wording,
read literally, gives log(s / f), which differs by log((1 - f) / (1 - s)).

The fit is the maximum a posteriori: it minimises the summed loss of the n examples plus

    (log T)^2 / (2 0.5^2)  +  bias^2 / 2,

since the likelihood alone drives T into its bounds where the examples are few or can be separated.
With some thousands of examples the two agree. Weighted examples of a temperature count as
n = (sum of w)^2 / (sum of w^2) (Kish 1965, "Survey Sampling", the effective sample size). Where a
specialist is calibrated on a sample, a weight says how many examples one stands for, and n is the
sum of the weights: with Kish's, the prior would hold the bias back.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.errors import CalibrationWarning, InputError, first_of
from specialists.probability import check_labels, check_rows, tempered_log_softmax

BOUNDS_LOG_TEMPERATURE = (math.log(0.05), math.log(20.0))
LOG_TEMPERATURE_TOLERANCE = 1e-3
NUMBERS_AT_A_TIME = 1 << 19  # of logits, 2 MB
BOUNDS_BIAS = (-20.0, 20.0)
LEAST_LOGIT = -1e9  # of a class that is impossible; -inf has no gradient
PRIOR_LOG_TEMPERATURE, PRIOR_BIAS = 0.5, 1.0  # standard deviations around 0


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

    def __post_init__(self) -> None:
        offsets = (self.correction, self.dustbin_bias)
        if not 0 < self.temperature < math.inf or not all(map(math.isfinite, offsets)):
            raise InputError(
                "a calibration is of finite numbers, and its temperature is positive",
                got=", ".join(f"{name}={value}" for name, value in self.to_dict().items()),
            )

    def log_probs(self, logits: Tensor) -> Tensor:
        """Log-probabilities [n, k + 1], dustbin last, of logits of the same shape.

        Raises
        ------
        InputError
            If the logits are no matrix, or hold no class beside the dustbin.
        """
        shifted = _with_dustbin(logits).clone()
        shifted.select(1, -1).add_(self.correction + self.dustbin_bias)
        return tempered_log_softmax(shifted, self.temperature)

    def to_dict(self) -> dict[str, float]:
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

    Raises
    ------
    InputError
        If there is no such formula, or a share is not between 0 and 1.

    Examples
    --------
    >>> round(dustbin_correction(0.5, 0.1), 3)  # log 9
    2.197
    """
    s, f = training_share, natural_share
    if formula not in ("exact", "paper"):
        raise InputError("no such formula", got=formula, expected="exact or paper")
    if not (0 < s < 1 and 0 < f < 1):
        raise InputError(
            "a dustbin is corrected between shares of examples that are neither none nor all",
            got=f"training_share={s}, natural_share={f}",
            expected="both greater than 0 and less than 1",
        )
    if formula == "paper":
        return math.log(s / f)
    return math.log((1 - f) / f) + math.log(s / (1 - s))


def fit_temperature(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> float:
    """Argmin over T of the sum of -log softmax(logits / T)_label + (log T)^2 / (2 0.5^2).

    Temperature scaling (Guo et al. 2017, section 4.2) with a prior; the minimum is found to one
    part in a thousand.

    Parameters
    ----------
    logits : Tensor of shape (n, C)
        Or log-probabilities.
    labels : int64 Tensor of shape (n,)
    weights : Tensor of shape (n,), optional
        Importance of each example.

    Raises
    ------
    InputError
        If there are no rows, the shapes do not fit one another, a label is none of the classes, or
        a row gives its label no probability at any temperature (NaN, or -inf at the label).
    """
    logits, labels = _calibrated_on(logits, labels)
    from scipy.optimize import minimize_scalar

    n_examples = float(len(labels))
    if weights is not None:
        _check_weights(weights, len(labels))
        n_examples = (weights.double().sum() ** 2 / weights.double().square().sum()).item()

    def objective(log_temperature: float) -> float:
        loss = tempered_loss(logits, labels, math.exp(log_temperature), weights)
        return loss + (log_temperature / PRIOR_LOG_TEMPERATURE) ** 2 / (2 * n_examples)

    options = {"xatol": LOG_TEMPERATURE_TOLERANCE}
    result = minimize_scalar(
        objective, bounds=BOUNDS_LOG_TEMPERATURE, method="bounded", options=options
    )
    return math.exp(result.x)


def tempered_loss(
    logits: Tensor, labels: Tensor, temperature: float, weights: Tensor | None = None
) -> float:
    """Weighted mean of -log softmax(logits / T)_label, in nats."""
    losses = tempered_losses(logits, labels, temperature)
    if weights is None:
        return losses.mean(dtype=torch.float64).item()
    return ((losses * weights).sum(dtype=torch.float64) / weights.sum()).item()


def tempered_losses(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """-log softmax(logits / T)_label of each row, in nats, (n,).

    Few rows at a time stay in the processor's cache.
    """
    n_rows = max(1, NUMBERS_AT_A_TIME // logits.shape[1])
    losses = [
        -(some / temperature).log_softmax(-1).gather(1, of_some[:, None]).squeeze(1)
        for some, of_some in zip(logits.split(n_rows), labels.split(n_rows), strict=True)
    ]
    return torch.cat(losses)


def fit_calibration(
    logits: Tensor, labels: Tensor, correction: float, weights: Tensor | None = None
) -> Calibration:
    """Temperature and dustbin bias of a specialist, the maximum a posteriori from the correction.

    Parameters
    ----------
    logits : Tensor of shape (n, k + 1)
        On validation examples, not corrected.
    labels : int64 Tensor of shape (n,)
        Places in the subset; k for the dustbin.
    correction : float
    weights : Tensor of shape (n,), optional
        How many examples each stands for, so that they are in their natural proportion. None: one.

    Warns
    -----
    CalibrationWarning
        If there are no examples of the subset, or none of the dustbin: the formula stands.

    Raises
    ------
    InputError
        As :func:`fit_temperature`.
    """
    logits, labels = _calibrated_on(_with_dustbin(logits), labels)
    if weights is not None:
        _check_weights(weights, len(labels))
    n_examples = len(labels) if weights is None else float(weights.sum())
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
    scale = torch.tensor([PRIOR_LOG_TEMPERATURE, PRIOR_BIAS], dtype=torch.float64)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        log_temperature, bias = parameters.to(logits.dtype)
        scaled = (corrected + bias * dustbin) * torch.exp(-log_temperature)
        prior = (parameters / scale).square().sum() / (2 * n_examples)
        loss = _mean_loss(F.log_softmax(scaled, dim=-1), labels, weights) + prior
        (gradient,) = torch.autograd.grad(loss, parameters)
        return loss.item(), gradient.double().numpy()

    from scipy.optimize import minimize

    bounds = [BOUNDS_LOG_TEMPERATURE, BOUNDS_BIAS]
    result = minimize(objective, [0.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds)
    return Calibration(correction, math.exp(result.x[0]), float(result.x[1]))


def _mean_loss(log_probs: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return F.nll_loss(log_probs, labels)
    losses = F.nll_loss(log_probs, labels, reduction="none")
    return (losses * weights).sum() / weights.sum()


def _with_dustbin(logits: Tensor) -> Tensor:
    """The logits of a specialist in float32 or better."""
    check_rows(logits, "logits of a specialist")
    if logits.shape[1] < 2:
        raise InputError(
            "a specialist has at least one class beside its dustbin",
            got=f"logits of shape {tuple(logits.shape)}",
            expected="(n, k + 1), the dustbin last",
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _calibrated_on(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits in float32 or better and int64 labels, both checked."""
    check_rows(logits, "logits")
    labels = check_labels(labels, *logits.shape)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = logits.logsumexp(-1) - logits.gather(1, labels[:, None]).squeeze(1)
    hopeless = (~losses.isfinite()).nonzero().flatten()
    if len(hopeless):
        row = int(hopeless[0])
        raise InputError(
            "no temperature gives a label a probability here",
            where=first_of(hopeless.tolist()),
            got=f"{float(logits[row, labels[row]])} at the label, "
            f"{int((~logits[row].isfinite()).sum())} of {logits.shape[1]} logits not finite",
            expected="finite logits at the labels, and no NaN",
        )
    return logits.clamp_min(LEAST_LOGIT), labels


def _check_weights(weights: Tensor, n_rows: int) -> None:
    fits = tuple(weights.shape) == (n_rows,)
    if not fits or not bool(((weights >= 0) & weights.isfinite()).all() & (weights.sum() > 0)):
        raise InputError(
            "the weights of examples are not one for each row, or none of them counts",
            got=f"shape {tuple(weights.shape)}" + (f", sum {float(weights.sum())}" * fits),
            expected=f"shape ({n_rows},), finite, not negative, not all zero",
        )
