"""Averages of generalists, of which the later ones may be asked less: the best in each limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial

from torch import Tensor

from specialists.baselines import (
    AverageCandidate,
    AveragingRule,
    averaged,
    head_share,
    judge_averages,
)
from specialists.baselines.averages import ROUNDING, deferring_rules
from specialists.ensemble import choose
from specialists.evaluation.inference_times import Predict
from specialists.networks import inference_flops, read_spec
from specialists.predictions import ModelOutputs, Predictions
from specialists.training import TrainingCost

from ..baselines import trainings_of
from ..classifiers import Member
from ..timed_models import average_of
from .measured import Measured, MeasuredRun
from .measured_pieces import measured_in_pieces

LIMITS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0)  # of inference FLOPs, over the generalist's
Found = Iterator[tuple[str, Measured, Predict]]


def best_averages(seed: MeasuredRun, family: str, teams: Sequence[Sequence[Member]]) -> Found:
    """The best average of one of the teams within each limit, where a higher limit changes it.

    Predictions of all classes are in memory for one team at a time.
    """
    averages = [_Average(seed, team) for team in teams]
    chosen: dict[float, tuple[AveragingRule, _Average]] = {}
    for limit in LIMITS if averages else ():
        judged = [(c, average) for average in averages for c in average.candidates(limit)]
        best = choose([c for c, _ in judged], seed.context.config.combination)
        found = (best.rule, next(average for c, average in judged if c is best))
        if best.rule.n_members > 1 and found not in chosen.values():
            chosen[limit] = found
    models = {}
    for average in averages:
        rules = {limit: rule for limit, (rule, by) in chosen.items() if by is average}
        models |= average.measured(family, rules)
    for limit in chosen:
        yield f"{family}, {limit:g}x", *models[limit]


class _Average:
    """Generalists of a run of which all but the first are alike, averaged by some rule."""

    def __init__(self, seed: MeasuredRun, members: Sequence[Member]) -> None:
        self.seed, self.members = seed, members
        first, other = ((m.network(), m.sample("test")) for m in (members[0], members[-1]))
        self.flops = inference_flops(*first)
        self.second = inference_flops(*other) / self.flops
        self.share = head_share(other[0], seed.context.dataset.n_classes, other[1])

    @cached_property
    def judged(self) -> list[AverageCandidate]:
        """Rules for each limit, judged on validation rows."""
        known = [member.predictions("validation") for member in self.members]
        rules = [
            rule
            for limit in map(self._in_own_cost, LIMITS)
            for rule in deferring_rules(known[0], len(self.members), limit, self.share)
        ]
        labels = self.seed.context.dataset.validation.labels
        return judge_averages(list(dict.fromkeys(rules)), known, labels, self.share)

    def candidates(self, limit: float) -> list[AverageCandidate]:
        """Rules that cost at most ``limit`` first members."""
        most = self._in_own_cost(limit) + ROUNDING
        return [candidate for candidate in self.judged if candidate.relative_cost <= most]

    def _in_own_cost(self, limit: float) -> float:
        """A limit in first members, where later ones count as one each."""
        return 1.0 + (limit - 1.0) / self.second

    def measured(
        self, family: str, rules: Mapping[float, AveragingRule]
    ) -> dict[float, tuple[Measured, Predict]]:
        """What each rule says of the test rows, and what it costs."""
        if not rules:
            return {}
        first, *others = self.members
        alone = first.outputs(family, "test")
        test = [alone.predictions, *(member.predictions("test") for member in others)]
        by_limit = {}
        for limit, rule in rules.items():
            some = self.members[: rule.n_members]
            cost = sum((member.cost for member in some), TrainingCost())
            asked = rule.relative_cost(test[0], self.share) - 1.0
            outputs = dataclasses.replace(
                alone,
                inference_flops=self.flops * (1.0 + self.second * asked),
                trainings=trainings_of(some),
                **cost.to_dict(),
            )
            by_limit[limit] = outputs, rule
        measured = measured_in_pieces(self.seed, partial(self._averaged, by_limit, test))
        network = others[-1].network()
        return {
            limit: (measured[limit], average_of(network, first.predict, rule))
            for limit, rule in rules.items()
        }

    def _averaged(
        self,
        by_limit: Mapping[float, tuple[ModelOutputs, AveragingRule]],
        members: Sequence[Predictions],
        rows: Tensor,
    ) -> dict[float, tuple[ModelOutputs, str]]:
        """What each rule says of some test rows."""
        some = [predictions[rows] for predictions in members]
        return {
            limit: (
                dataclasses.replace(outputs, predictions=averaged(some, rule)),
                self.in_short(rule),
            )
            for limit, (outputs, rule) in by_limit.items()
        }

    def in_short(self, rule: AveragingRule) -> str:
        """The rule in a few words."""
        rank = read_spec(self.members[-1].folder).head_rank
        words = [f"{rule.n_members} {rule.mean}"]
        words += [f"rank {rank}"] if self.second < 1.0 else []
        words += [f"the {rule.shortlist} most probable"] if rule.shortlist else []
        words += [] if rule.confidence is None else [f"all up to {rule.confidence:.1%}"]
        return ", ".join(words)
