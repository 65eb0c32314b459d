"""Which rule do validation data prefer, and may its specialists answer?

`ensemble` is the best candidate among those that cost at most ``combination.max_cost`` generalists;
if none does, it is the best of the cheapest. `ensemble_paper` is the paper's own rule (KL, n = 1,
weights 1, dustbins as they were calibrated over all rows), `ensemble_all` the best with every
specialist. A candidate that is less sure of the
truth than the calibrated generalist (a higher validation NLL) is chosen only if there is no other.
Only `ensemble` has to pass the admission test (:mod:`specialists.ensemble.admission`): where rows
kept for that test do not say that it helps, it is its generalist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from specialists import catalogue
from specialists.catalogue import ALL, ENSEMBLE
from specialists.config import CombinationConfig
from specialists.ensemble.admission import (
    NO_ROWS,
    NOT_WANTED,
    KeptRows,
    admit_specialists,
    untested,
)
from specialists.ensemble.candidates import score_rules
from specialists.ensemble.decision import AdmissionDecision
from specialists.ensemble.judging import Candidate, affordable, choose, score
from specialists.ensemble.member_predictions import MemberPredictions
from specialists.ensemble.rules import PAPER, CombinationRule
from specialists.json_record import Cost, JsonRecord
from specialists.probability import mean_over_rows


@dataclass(frozen=True)
class Choice(JsonRecord):
    """The chosen rule, what it was chosen from, and the admission test: ``choice.json``.

    Parameters
    ----------
    rules : dict
        The rule of ``ensemble`` as it answers (see ``admission``), and where clusters have
        specialists of ``ensemble_paper`` and ``ensemble_all``.
    candidates : tuple of Candidate
    admission : AdmissionDecision
    generalist : dict
        ``top1``, ``nll`` and ``inference_flops`` of the generalist alone.
    relative_cost : float
        Mean inference FLOPs of ``ensemble`` over the generalist's, on validation rows.
    within_max_cost : bool
    asked : float
        Fraction of the validation rows about which a specialist is asked.
    """

    rules: dict[str, CombinationRule]
    candidates: tuple[Candidate, ...]
    admission: AdmissionDecision
    generalist: dict[str, Cost]
    relative_cost: Cost
    within_max_cost: bool
    asked: float

    @property
    def chosen(self) -> CombinationRule:
        """The rule of ``ensemble``, with the members that may answer."""
        return self.rules[ENSEMBLE]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with the chosen rule in front."""
        return {"chosen": self.chosen.to_dict(), **super().to_dict()}


def choose_rule(
    predictions: MemberPredictions,
    labels: Tensor,
    settings: CombinationConfig,
    kept: KeptRows | None = None,
    *,
    needs_test: bool = False,
    groups: Tensor | None = None,
) -> Choice:
    """Score every rule on validation rows, choose one, and test whether its specialists may answer.

    Parameters
    ----------
    predictions : MemberPredictions
        Of the validation rows.
    labels : int64 Tensor of shape (n,)
    settings : CombinationConfig
    kept : KeptRows, optional
        Rows for the admission test; None: the chosen rule answers untested.
    needs_test : bool
        Whether, without such rows, the generalist answers instead.
    groups : int64 Tensor of shape (n,), optional
        Validation rows that are one observation share a number; None: each is one.
    """
    candidates = score_rules(predictions, labels, settings, groups)
    best = choose(affordable(candidates), settings).rule
    of_all = [c for c in candidates if c.rule.n is None and c.rule.shared is None]
    of_clusters = {}
    if of_all:
        of_clusters = {catalogue.PAPER: PAPER, ALL: choose(of_all, settings).rule}
    if settings.admission == "off":
        admission = untested(best, settings.admission, "combination.admission is off")
    elif kept is None:
        reason = NO_ROWS if needs_test else NOT_WANTED
        admission = untested(best, settings.admission, reason, refused=needs_test)
    else:
        admission = admit_specialists(best, predictions, labels, kept, settings)
    rule = admission.rule
    flops, cost = predictions.generalist_flops, predictions.flops(rule)
    asked = predictions.active(rule).any(1) | predictions.asks_shared(rule)
    return Choice(
        {ENSEMBLE: rule, **of_clusters},
        tuple(candidates),
        admission,
        score(predictions.generalist, labels, predictions.weights) | {"inference_flops": flops},
        cost / flops,
        not cost / flops > settings.max_cost,
        float(mean_over_rows(asked.double(), predictions.weights)),
    )
