"""Which rule do validation data prefer?

Rules without fitted numbers are judged by what they predict for the validation set. A rule that
fits numbers there (``kl`` its dustbins, once for each n; a learned combination its weights and
temperatures) is judged by cross-fitted predictions: each half of the rows is predicted by the
numbers of the other half, rows of one group in the same half. Only then is it fitted on all rows. A
learned combination keeps its score on them too. It starts from the best weight of ``kl`` for its n
and from specialists as they were calibrated: its temperatures change their dustbins.

Where every specialist is asked about every row, there is no selection that a dustbin has to be
fitted to: calibration over all rows stands.

Every other rule with an n is a candidate once for each share of the rows that the generalist may
defer to specialists: those it is least sure of, by a threshold that is a quantile of its largest
probabilities on the validation set. A sure generalist is seldom wrong, so a small share keeps most
of the gain for little inference. Shared specialists are tried beside the generalist alone, and
beside the best rule of clusters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from torch import Tensor

from specialists.config import CombinationConfig
from specialists.ensemble.judging import Candidate, Judge, affordable, choose, deferral_limit
from specialists.ensemble.member_predictions import MemberPredictions
from specialists.ensemble.rules import WEIGHTED, CombinationRule
from specialists.ensemble.shared_members import SharedRule
from specialists.predictions import Predictions
from specialists.runtime import progress


def score_rules(
    predictions: MemberPredictions,
    labels: Tensor,
    settings: CombinationConfig,
    groups: Tensor | None = None,
) -> list[Candidate]:
    """Validation top-1, NLL and cost of every rule that the settings name.

    Rows that share a number in ``groups``, int64 (n,), are one observation; None: each row is one.

    Learned combinations, which take long, are fitted only for those n that ``ensemble`` can be
    (for every n if no other rule is named), and asked about every row.
    """
    everyone = (*settings.n, None)
    rules = [
        CombinationRule(method, n, weight)
        for method in settings.rules
        if method != "learned"
        for n in everyone
        for weight in (settings.weights if method in WEIGHTED else (1.0,))
    ]
    judge = Judge(predictions, labels, settings.max_cost)
    limits = _limits(predictions, settings.deferral)
    candidates = []
    if predictions.subsets:
        candidates += _of_clusters(judge, rules, limits, groups)
        if "learned" in settings.rules:
            worth_it = _worth_learning(predictions, candidates, settings, everyone)
            with progress("learned combinations", len(worth_it)) as bar:
                for n in worth_it:
                    candidates.append(judge.learned(n, _best_weight(candidates, n), groups))
                    bar.advance()
    if predictions.shared is not None:
        candidates += _with_shared_specialists(judge, candidates, settings, groups)
    return candidates


def _of_clusters(
    judge: Judge,
    rules: Sequence[CombinationRule],
    limits: Sequence[float | None],
    groups: Tensor | None,
) -> list[Candidate]:
    """Rules of clusters' specialists, with dustbins fitted where they are asked."""
    predictions, found = judge.predictions, []
    fit = lru_cache(1)(lambda n: predictions.fit_dustbins(n, judge.labels, groups))
    with progress("combination rules", len(rules)) as bar:
        for rule in rules:
            dustbin, answers = fit(rule.n) if _is_fitted(rule) else (None, predictions)
            several = judge.deferring(rule, limits if rule.n is not None else [None], answers)
            found += [replace(candidate, dustbin=dustbin) for candidate in several]
            bar.advance()
    return found


def _limits(predictions: MemberPredictions, shares: Iterable[float]) -> list[float | None]:
    """Distinct confidences up to which these shares of the rows lie; None: all of them."""
    rows = (predictions.generalist, predictions.weights)
    return [*dict.fromkeys(deferral_limit(rows[0], share, rows[1]) for share in shares)]


def _with_shared_specialists(
    judge: Judge,
    candidates: Sequence[Candidate],
    settings: CombinationConfig,
    groups: Tensor | None,
) -> list[Candidate]:
    """Shared specialists beside the generalist alone, and beside the best that clusters give."""
    assert judge.predictions.shared is not None
    bases = [(CombinationRule("kl", None, members=()), judge.predictions.generalist)]
    if candidates:
        best = choose(affordable(candidates), settings).rule
        bases.append((best, _unseen(judge, best, groups)))
    some = _limits(judge.predictions, (share for share in settings.whole_heads if share))
    wholes = [None] * (0.0 in settings.whole_heads) + [1.0 if x is None else x for x in some]
    sharers = range(1, 1 + judge.predictions.shared.n_members)
    tried = list(itertools.product(bases, sharers, settings.weights))
    found = []
    with progress("shared specialists", len(tried)) as bar:
        for (rule, base), k, weight in tried:
            limits = [rule.defer_above]
            if rule.members == ():
                limits = _limits(judge.predictions, settings.deferral)
            sharing = replace(rule, shared=SharedRule(k, weight))
            found += judge.sharing(sharing, base, wholes, limits)
            bar.advance()
    return found


def _unseen(judge: Judge, rule: CombinationRule, groups: Tensor | None) -> Predictions:
    """What a rule of clusters says of every row by numbers that were fitted without it."""
    predictions = judge.predictions
    if rule.learned is not None:
        return predictions.learn(rule.n, judge.labels, rule.weight, groups)[1]
    if rule.dustbin is not None and rule.n is not None:
        predictions = predictions.fit_dustbins(rule.n, judge.labels, groups)[1]
    return predictions.joined(replace(rule, dustbin=None, defer_above=None))


def _is_fitted(rule: CombinationRule) -> bool:
    """Whether the rule's dustbins are fitted on the rows where it asks."""
    return rule.method == "kl" and rule.n is not None


def _worth_learning(
    predictions: MemberPredictions,
    candidates: list[Candidate],
    settings: CombinationConfig,
    everyone: Iterable[int | None],
) -> list[int | None]:
    """The n within the cost limit or, if no candidate is, those as cheap as the cheapest."""
    if not candidates:
        return list(everyone)
    least = min(candidate.inference_flops for candidate in candidates)
    limit = max(settings.max_cost * predictions.generalist_flops, least)
    return [n for n in everyone if not predictions.flops(CombinationRule("learned", n)) > limit]


def _best_weight(candidates: list[Candidate], n: int | None) -> float:
    """That of the ``kl`` candidate of this n with the lowest NLL; 1 if there is none.

    Candidates for a part of the rows count only where there are no others.
    """
    same_n = [c for c in candidates if (c.rule.method, c.rule.n) == ("kl", n)]
    best = min(same_n, key=lambda c: (c.rule.defer_above is not None, c.nll), default=None)
    return 1.0 if best is None else best.rule.weight
