"""What if the transfer set lacks some classes, of which a student hears by soft targets alone?

It learns what these classes look like from the small probabilities that its teacher gives them,
but not how frequent they are: it believes that there are next to none. One bias, added to the
logits of all of them, makes up for that (Hinton, Vinyals and Dean 2015, section 3: without any 3
in the transfer set 98.6% of the test's 3s are right once the bias of their class is raised by 3.5).
The paper chose the bias on its test set. Here labelled validation rows choose it, METHOD.md (43):

    log p = log softmax((z + b m) / T),    m_j = 1 for the classes that the transfer set lacks,
    minimise    sum of -log p_label + (log T)^2 / (2 0.5^2) + b^2 / (2 10^2)

A student that learned at a high temperature is not calibrated at T = 1. T keeps the bias from
making up for that too. The classes that are there could be lowered instead: it is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from specialists.calibration import BOUNDS_LOG_TEMPERATURE, PRIOR_LOG_TEMPERATURE
from specialists.errors import InputError, first_of
from specialists.probability import check_labels, check_rows, check_subset, tempered_log_softmax

PRIOR_MISSING_BIAS = 10.0  # standard deviation, nats
BOUNDS_MISSING_BIAS = (-100.0, 100.0)


@dataclass(frozen=True)
class MissingClassBias:
    """Turns the logits of a student into log-probabilities of classes that it was never shown.

    Parameters
    ----------
    missing : tuple of int
        The classes that the transfer set lacks.
    bias : float
        Added to each of their logits, nats.
    temperature : float
        By which the sums are divided.
    """

    missing: tuple[int, ...]
    bias: float
    temperature: float = 1.0

    def log_probs(self, logits: Tensor) -> Tensor:
        """Log-probabilities (n, C) of logits of the same shape, which stay as they are."""
        check_rows(logits, "logits")
        shifted = logits.to(torch.promote_types(logits.dtype, torch.float32)).clone()
        shifted[:, list(self.missing)] += self.bias
        return tempered_log_softmax(shifted, self.temperature)


def fit_missing_bias(logits: Tensor, labels: Tensor, missing: Sequence[int]) -> MissingClassBias:
    """The bias, and the temperature, that labelled rows of all classes prefer, METHOD.md (43).

    Parameters
    ----------
    logits : Tensor of shape (n, C)
        A student's, on validation rows in their natural proportions.
    labels : int64 Tensor of shape (n,)
    missing : sequence of int
        The classes that the student's training rows lack.

    Raises
    ------
    InputError
        If logits are not finite; if shapes and labels do not fit one another; if ``missing`` is no
        class, or all of them; if no row has such a label, or all have, so that nothing says how
        large the bias should be.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, -3.0], [0.0, -1.0], [1.0, -3.0], [0.0, -2.0]])
    >>> fitted = fit_missing_bias(logits, torch.tensor([0, 1, 0, 1]), missing=[1])
    >>> fitted.log_probs(logits).argmax(1).tolist()
    [0, 1, 0, 1]
    """
    check_rows(logits, "logits")
    labels = check_labels(labels, *logits.shape)
    if len(wrong := (~logits.isfinite()).any(1).nonzero().flatten()):
        raise InputError("logits are not finite", where=first_of(wrong.tolist()))
    is_missing = _mask(missing, logits.shape[1])
    n_missing = int(is_missing[labels].sum())
    if n_missing in (0, len(labels)):
        raise InputError(
            "nothing says how probable the classes are that the transfer set lacks",
            got=f"{n_missing} of {len(labels)} validation rows are of these classes",
            expected="some, and some of the other classes",
            fix="take validation rows of all classes, in their natural proportions",
        )
    values = logits.double()
    shift = is_missing.double()

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        both = torch.tensor(parameters, dtype=torch.float64, requires_grad=True)
        log_temperature, bias = both
        scaled = (values + bias * shift) * torch.exp(-log_temperature)
        prior = (log_temperature / PRIOR_LOG_TEMPERATURE) ** 2 + (bias / PRIOR_MISSING_BIAS) ** 2
        loss = F.cross_entropy(scaled, labels) + prior / (2 * len(labels))
        (gradient,) = torch.autograd.grad(loss, both)
        return loss.item(), gradient.numpy()

    from scipy.optimize import minimize

    bounds = [BOUNDS_LOG_TEMPERATURE, BOUNDS_MISSING_BIAS]
    result = minimize(objective, [0.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds)
    log_temperature, bias = map(float, result.x)
    return MissingClassBias(
        tuple(is_missing.nonzero().flatten().tolist()), bias, math.exp(log_temperature)
    )


def _mask(missing: Sequence[int], n_classes: int) -> Tensor:
    """Which classes are missing, bool (C,)."""
    classes = torch.as_tensor(list(missing), dtype=torch.int64)
    check_subset(classes, n_classes, "missing")
    if len(classes) in (0, n_classes):
        raise InputError(
            "a transfer set lacks some classes, not none and not all",
            where="missing",
            got=f"{len(classes)} of {n_classes} classes",
        )
    mask = torch.zeros(n_classes, dtype=torch.bool)
    mask[classes] = True
    return mask
