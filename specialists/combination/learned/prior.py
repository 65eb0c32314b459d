"""How far may weights and temperatures go from where they start?

The penalty of METHOD.md (17), in nats for all rows together, with s = 1/2 and r = 1/4.

Why r = 1/4: on clinc150, onet and languages an active row gave some 0.01 nats of curvature to
log v_m and 0.3 to log T_m (any row 0.2 to 1.3 to log T_0), against the prior's 1 / r^2 = 16. So a
few rows hardly part a specialist from the others, and hundreds do. The cross-fitted loss is flat
around it: for r from 0.1 to 0.5 it moved by at most 0.004 nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SIGMA_COMMON = 0.5
SIGMA_OWN = 0.25
BOUND = 5.0
_CURVATURES = (0.01, 0.3, 0.5)


@dataclass(frozen=True)
class Prior:
    """The prior of a combination's numbers, and the scale on which they are fitted.

    x is theta in units of about its posterior deviation, so that the objective is about as steep in
    every direction. At x = 0 all specialists have ``weight`` and all temperatures are 1. Specialist
    m is active in ``n_active[m]`` rows, float64 (M,); one that never is keeps these numbers.
    """

    weight: float
    n_active: Tensor
    n_rows: float

    def numbers(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, specialists' temperatures, the generalist's temperature; x is (2 M + 1,)."""
        ratios = self._theta(x).clamp(-BOUND, BOUND).exp()
        weights, temperatures = ratios[:-1].chunk(2)
        return self.weight * weights, temperatures, ratios[-1]

    def penalty(self, x: Tensor) -> Tensor:
        """``-log prior`` in nats, without its constant."""
        theta = self._theta(x)
        groups = theta[:-1].reshape(2, -1)[:, self.n_active > 0]
        mean = groups.mean(1)
        single = (groups - mean[:, None]).square().sum() / SIGMA_OWN**2
        common = mean.square().sum() / (SIGMA_COMMON**2 + SIGMA_OWN**2 / groups.shape[1])
        return (single + common + (theta[-1] / SIGMA_COMMON).square()) / 2

    def _theta(self, x: Tensor) -> Tensor:
        scales = [(self.n_active * h + SIGMA_OWN**-2).rsqrt() for h in _CURVATURES[:2]]
        scales = [scale.masked_fill(self.n_active == 0, 0.0) for scale in scales]
        generalist = (self.n_rows * _CURVATURES[2] + SIGMA_COMMON**-2) ** -0.5
        return x * torch.cat([*scales, x.new_full((1,), generalist)])
