"""What do generalist and specialists predict for a split, each alone and joined by a rule?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from specialists.combination import (
    FittedDustbin,
    Subsets,
    cross_fitted,
    cross_fitted_dustbins,
    fit_combination,
    fit_dustbin,
)
from specialists.ensemble.rules import CombinationRule, admitted, asked_about, join
from specialists.ensemble.shared_members import SharedPredictions, SharedRule, with_shared
from specialists.predictions import DensePredictions, Predictions


@dataclass(frozen=True)
class MemberPredictions:
    """What the generalist and every specialist predict for the rows of a split, and the cost.

    Parameters
    ----------
    generalist : Predictions of n rows
    specialists : list of M Tensors of shape (n, k_m + 1)
        Log-probabilities, the dustbin last.
    subsets : list of M int64 Tensors of shape (k_m,)
    generalist_flops : float
        Of one prediction.
    specialist_flops : Tensor of shape (M,)
        Of one prediction, the shared trunk left out.
    shared : SharedPredictions, optional
        Of the specialists that all rows share.
    weights : Tensor of shape (n,), optional
        How many rows each one counts as, in fits, scores and tests; None: one.
    """

    generalist: Predictions
    specialists: list[Tensor]
    subsets: list[Tensor]
    generalist_flops: float
    specialist_flops: Tensor
    shared: SharedPredictions | None = None
    weights: Tensor | None = None

    def select(self, index: Tensor) -> MemberPredictions:
        """The predictions for some of the rows."""
        specialists = [rows[index] for rows in self.specialists]
        shared = None if self.shared is None else self.shared[index]
        changes = {"generalist": self.generalist[index], "specialists": specialists}
        weights = None if self.weights is None else self.weights[index]
        return replace(self, **changes, shared=shared, weights=weights)

    @cached_property
    def tables(self) -> Subsets:
        """The subsets as they are combined, checked once."""
        return Subsets.from_indices(self.subsets, self.generalist.n_classes)

    def active(self, rule: CombinationRule) -> Tensor:
        """Which specialists the rule asks about which row, bool of shape (n, M)."""
        if rule.n not in self._asked:
            self._asked[rule.n] = asked_about(self.generalist, self.tables, rule.n)
        return admitted(self._asked[rule.n], rule, self.generalist.confidence())

    @cached_property
    def _asked(self) -> dict[int | None, Tensor]:
        """Whom rules with each n ask, but for members and deferral: many rules share it."""
        return {}

    def asks_shared(self, rule: CombinationRule) -> Tensor:
        """About which rows the rule asks shared specialists, bool of shape (n,)."""
        return rule.asks_shared(self.confidence)

    @cached_property
    def confidence(self) -> Tensor:
        """The generalist's largest probability, (n,); rounded up it stays 1."""
        return self.generalist.confidence().clamp_max(1.0)

    def joined(self, rule: CombinationRule) -> Predictions:
        """What the rule makes of them."""
        active = self.active(rule)
        together = join(self.generalist, self.specialists, self.tables, active, rule)
        if rule.shared is None:
            return together
        return self.with_shared(together, rule.shared, self.asks_shared(rule))

    def with_shared(
        self, base: Predictions, rule: SharedRule, asked: Tensor | None = None
    ) -> Predictions:
        """Predictions of the same rows, joined with shared specialists; None: asked about all."""
        assert self.shared is not None
        if asked is None:
            asked = torch.ones(len(base), dtype=torch.bool)
        joined = with_shared(base.dense(), asked, self.confidence, self.shared, rule)
        return DensePredictions(joined)

    def flops(self, rule: CombinationRule) -> float:
        """FLOPs of one prediction by the rule, the mean over the rows."""
        asked = self._share(self.active(rule))
        flops = self.generalist_flops + float(asked @ self.specialist_flops)
        if rule.shared is None or self.shared is None:
            return flops
        return flops + self.shared.flops(rule.shared, self.asks_shared(rule), self.confidence)

    def _share(self, rows: Tensor) -> Tensor:
        """Share of the rows where each column of a bool matrix (n, M) is true."""
        if self.weights is None:
            return rows.double().mean(0)
        return self.weights.double() @ rows.double() / self.weights.double().sum()

    def fit_dustbins(
        self, n: int, labels: Tensor, groups: Tensor | None = None
    ) -> tuple[FittedDustbin, MemberPredictions]:
        """Dustbins where the n most probable classes ask, and cross-fitted ones to judge them by.

        Rows that share a number in ``groups`` are predicted by what other rows fitted. The second
        are these predictions with answers that hold only where specialists are asked.
        """
        active = self.active(CombinationRule("kl", n))
        problem = (self.generalist.dense(), self.specialists, self.tables, labels, active)
        counts = self.weights
        answers = cross_fitted_dustbins(*problem, groups, counts=counts)
        return fit_dustbin(*problem, counts), replace(self, specialists=answers)

    def learn(
        self,
        n: int | None,
        labels: Tensor,
        weight: float = 1.0,
        groups: Tensor | None = None,
    ) -> tuple[CombinationRule, Predictions]:
        """The learned rule, and cross-fitted predictions to judge it by."""
        active = self.active(CombinationRule("learned", n))
        generalist = self.generalist.dense()
        problem = (generalist, self.specialists, self.tables, labels, active, weight)
        counts = self.weights
        rule = CombinationRule("learned", n, weight, fit_combination(*problem, counts=counts))
        return rule, DensePredictions(cross_fitted(*problem, groups=groups, counts=counts))
