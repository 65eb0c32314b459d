"""Which temperature do predictions need on some of their rows, for many sets of rows at once?

    argmin over T of the mean of -log softmax(z / T)_y over the rows + (log T)^2 / (2 0.5^2 n)

as :func:`specialists.calibration.fit_temperature` finds it. Each T costs a pass over all classes.
So T comes from a grid, log T = i / 8: losses of all rows at a point are computed once, for every
set of rows. The minimum is that of the polynomial through the seven points about the lowest, which
is within 1e-5 nats of the mean loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from specialists.calibration import (
    BOUNDS_LOG_TEMPERATURE,
    PRIOR_LOG_TEMPERATURE,
    tempered_losses,
)
from specialists.probability import MAX_NLL

STEPS = 8  # of the grid, to a factor of e
SIDE = 3  # points of the polynomial on either side of the lowest
FARTHEST = math.floor(BOUNDS_LOG_TEMPERATURE[1] * STEPS) - SIDE
FINE = np.linspace(-1.0, 1.0, 801)  # places between the lowest point's neighbours


class TemperedLosses:
    """Losses of n rows at temperatures of the grid, each computed when it is first asked for.

    Parameters
    ----------
    log_probs : Tensor of shape (n, C)
        At temperature 1.
    labels : int64 Tensor of shape (n,)
    """

    def __init__(self, log_probs: Tensor, labels: Tensor) -> None:
        self._log_probs, self._labels = log_probs, labels
        self.right = log_probs.argmax(1) == labels
        self.at = cache(self._at)

    def _at(self, point: int) -> Tensor:
        """Losses where log T is ``point`` / 8, float64 of shape (n,), at most ``MAX_NLL``."""
        losses = tempered_losses(self._log_probs, self._labels, math.exp(point / STEPS))
        return losses.clamp_max(MAX_NLL).double()


def fit_shared_temperature(
    parts: Sequence[tuple[TemperedLosses, Tensor]],
) -> tuple[float, list[Tensor]]:
    """One temperature for some rows of each part, and what these rows lose at it.

    Parameters
    ----------
    parts : sequence of (TemperedLosses, bool Tensor of shape (n,))
        With the rows that count, one at least in all.

    Returns
    -------
    temperature : float
    losses : list of float64 Tensors
        Of the rows that count, a tensor a part.
    """
    n_rows = sum(int(rows.sum()) for _, rows in parts)

    @cache
    def objective(point: int) -> float:
        total = sum(float(losses.at(point)[rows].sum()) for losses, rows in parts)
        return total / n_rows + (point / STEPS / PRIOR_LOG_TEMPERATURE) ** 2 / (2 * n_rows)

    lowest = 0
    for step in (1, -1):
        while abs(lowest + step) <= FARTHEST and objective(lowest + step) < objective(lowest):
            lowest += step
    points = range(lowest - SIDE, lowest + SIDE + 1)
    place = FINE[(_lagrange(FINE) @ [objective(point) for point in points]).argmin()]
    (weights,) = _lagrange(np.array([place]))
    at_it = [
        sum(weight * losses.at(point)[rows] for weight, point in zip(weights, points, strict=True))
        for losses, rows in parts
    ]
    return math.exp((lowest + place) / STEPS), [torch.as_tensor(losses) for losses in at_it]


def _lagrange(places: np.ndarray) -> np.ndarray:
    """Weights of the values at -SIDE, ..., SIDE in a polynomial's values, (places, points)."""
    nodes = np.arange(-SIDE, SIDE + 1.0)
    others = [np.delete(nodes, i) for i in range(len(nodes))]
    return np.stack(
        [
            np.prod((places[:, None] - other) / (node - other), axis=1)
            for node, other in zip(nodes, others, strict=True)
        ],
        axis=1,
    )
