"""Which models of a run answer best within each limit of inference?

Validation chooses, for each limit of mean inference FLOPs over the generalist's, the best rule of
specialists of clusters, of shared specialists, of both; of averaged generalists of which the later
ones may be asked less; and of a smaller second generalist, whose head has a low rank, that may be
asked less too. Beside them stand the generalist trained on, and wider ones: at what `ensemble`
costs, and of twice the width. No admission test keeps a rule out.

Training counts the generalist, what clusters and shortlists were found by, and the members that a
rule asks; of clusters all specialists. Seconds are of the wall, as the trainings wrote them.
Milliseconds are of the seed's models side by side (:mod:`pipelines.timed_models`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from specialists.baselines import (
    AverageCandidate,
    AveragingRule,
    averaged,
    head_share,
    judge_averages,
)
from specialists.baselines.averages import ROUNDING, deferring_rules
from specialists.catalogue import AVERAGED, CONTINUED, ENSEMBLE, GENERALIST, WIDE
from specialists.ensemble import Choice, CombinationRule, Ensemble, choose
from specialists.evaluation import measure_times
from specialists.evaluation.inference_times import Predict
from specialists.files import read_json, sha256
from specialists.files.ownership import MANIFEST
from specialists.networks import (
    ARCHITECTURES,
    build,
    inference_flops,
    read_spec,
    with_allowed_rank,
)
from specialists.runtime import processor_name
from specialists.training import TrainingCost

from ..baselines import budget_of, trainings_of
from ..classifiers import (
    ClassifierTask,
    Member,
    train_classifiers,
    training_flops_per_example,
)
from ..combine_predictions import ensemble_outputs, open_ensemble
from ..rivals import RivalTask
from ..shared_specialists import shared_tasks
from ..timed_models import average_of, fresh_beside, predicting
from ..train_generalist import initial_generalists
from ..train_specialists import specialist_tasks
from .equal_compute import width_tasks
from .kept_models import kept_models
from .measured import Measured, MeasuredRun

LIMITS = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0)
CLUSTERS, SHARED, BOTH = "specialists of clusters", "shared specialists", "both kinds of them"
SMALL = "a smaller second generalist"
RANKS = (32, 64, 128)  # of its head
TWICE = "2x"
FOLDER = "gain-by-cost"  # of a run


Found = Iterator[tuple[str, Measured, Predict]]


def measured_models(seed: MeasuredRun) -> dict[str, Measured]:
    """One seed's models on the test set, by family and limit; trains those that do not stand."""
    rivals, context = trained_rivals(seed), seed.context
    tasks = (task for family in rivals.values() for task in family)
    made_of = [context.path("combine-predictions"), *(task.folder for task in tasks)]
    key = {
        "config": {"limits": LIMITS, "ranks": RANKS},
        "inputs": {context.below(folder): sha256(folder / MANIFEST) for folder in made_of},
    }
    return kept_models(context.path(FOLDER, "measured"), key, lambda: _measured(seed, rivals))


def trained_rivals(seed: MeasuredRun) -> dict[str, Sequence[ClassifierTask]]:
    """The trainings of every rival, by family, which stand when this returns."""
    rivals = {
        **seed.baselines(budget_of(seed.context), (CONTINUED, WIDE, AVERAGED)),
        SMALL: _small_generalists(seed),
        TWICE: list(width_tasks(seed, (TWICE,)).values()),
    }
    for name, tasks in rivals.items():
        train_classifiers(tasks, seed.run.jobs, name)
    return rivals


def _measured(
    seed: MeasuredRun, rivals: Mapping[str, Sequence[ClassifierTask]]
) -> dict[str, Measured]:
    context = seed.context
    base = Member(context, context.path("train-generalist"))
    others = [Member(context, task.folder) for task in rivals[AVERAGED]]
    found = [
        *_single_networks(seed, base, rivals),
        *_specialists(seed),
        *_averages(seed, AVERAGED, [[base, *others]]),
        *_averages(seed, SMALL, [[base, Member(context, task.folder)] for task in rivals[SMALL]]),
    ]
    machine = processor_name(context.device)
    predict = {name: function for name, _, function in found}
    times = measure_times(predict, context.dataset.test.inputs, machine).models
    return {
        name: dataclasses.replace(model, milliseconds=times[name].batch if name in times else None)
        for name, model, _ in found
    }


def _single_networks(
    seed: MeasuredRun, base: Member, rivals: Mapping[str, Sequence[ClassifierTask]]
) -> Found:
    """The generalist, as it is and trained on, and wider ones."""
    generalist, network = seed.stored(GENERALIST), base.network()
    yield GENERALIST, generalist, base.predict
    (continued,) = seed.averaged([task.folder for task in rivals[CONTINUED]])
    yield CONTINUED, _with_start(continued, generalist), base.predict
    for family, name in ((WIDE, WIDE), (TWICE, f"{WIDE}, {TWICE}")):
        if tasks := rivals.get(family):
            wide = fresh_beside(network, tasks[0].spec).to(seed.context.device)
            yield name, seed.wide(tasks), predicting(wide)


def _with_start(model: Measured, start: Measured) -> Measured:
    """A model that was trained on from another, with both trainings' costs."""
    return dataclasses.replace(
        model,
        training=model.training + start.training,
        training_seconds=model.training_seconds + start.training_seconds,
    )


def _specialists(seed: MeasuredRun) -> Found:
    """The best rule of each kind within each limit, where a higher limit changes it."""
    ensemble, settings = open_ensemble(seed.context), seed.context.config.combination
    choice = read_json(seed.context.path("combine-predictions", "choice.json"))
    candidates = Choice.from_dict(choice).candidates
    stored = ensemble_outputs(seed.run, "test")
    test = ensemble.member_predictions(seed.context.split("test").inputs)
    for family in (CLUSTERS, SHARED, BOTH):
        best = None
        for limit in LIMITS:
            within = [c for c in candidates if _family(c) == family and c.relative_cost <= limit]
            if not within or (chosen := choose(within, settings).rule) == best:
                continue
            best = chosen
            cost, folders = _further(seed, ensemble, best)
            outputs = dataclasses.replace(
                stored[ENSEMBLE],
                predictions=test.joined(best),
                inference_flops=test.flops(best),
                training_flops=stored[GENERALIST].training_flops + cost.flops,
                trainings=(*stored[GENERALIST].trainings, *folders),
            )
            predict = dataclasses.replace(ensemble, rule=best).predictions
            yield f"{family}, {limit:g}x", seed.measured(outputs, best.in_short()), predict


def _family(rule: CombinationRule) -> str:
    if rule.shared is None:
        return CLUSTERS
    return SHARED if rule.members == () else BOTH


def _further(
    seed: MeasuredRun, ensemble: Ensemble, rule: CombinationRule
) -> tuple[TrainingCost, list[str]]:
    """What a rule needs beside its generalist, and the folders of these trainings."""
    context = seed.context
    clusters = read_json(context.path("cluster-classes", "costs.json"))
    cost = TrainingCost(flops=len(context.dataset.train) * budget_of(context).generalist_flops)
    cost += TrainingCost.from_dict(clusters)
    folders = [context.path(folder) for folder in clusters["trainings"]]
    if rule.members != ():
        starts = [task.folder for task in initial_generalists(context)]
        cost = sum((Member(context, folder).cost for folder in starts), cost)
        cost = sum((member.cost for member in ensemble.specialists), cost)
        folders += [*starts, *(task.folder for task in specialist_tasks(context))]
    if ensemble.shared is not None and rule.shared is not None:
        cost = sum((one.cost for one in ensemble.shared.specialists[: rule.n_shared]), cost)
        folders += [task.folder for task in shared_tasks(context)[: rule.n_shared]]
    return cost, [context.below(folder) for folder in folders]


def _small_generalists(seed: MeasuredRun) -> list[RivalTask]:
    """A generalist with a head of the lowest rank, and with the highest that is as cheap to train.

    As cheap as all that `ensemble` has beside its generalist. None for a network without ranks.
    """
    context, budget = seed.context, budget_of(seed.context)
    spec = read_spec(context.path("train-generalist"))
    if spec.model not in ARCHITECTURES:
        return []
    lower = [rank for rank in RANKS if rank < (spec.head_rank or spec.width)]
    specs = {rank: with_allowed_rank(dataclasses.replace(spec, head_rank=rank)) for rank in lower}
    specs = {rank: smaller for rank, smaller in specs.items() if smaller.head_rank == rank}
    most = budget.further.flops / budget.generalist.examples
    cheap = [
        rank
        for rank, smaller in specs.items()
        if training_flops_per_example(context, build(smaller)) <= most
    ]
    one_more = dataclasses.replace(budget, further=TrainingCost(flops=budget.generalist.flops))
    (like,) = seed.baselines(one_more, (AVERAGED,))[AVERAGED]
    folders = {rank: context.path(FOLDER, f"rank-{rank}") for rank in specs}
    return [
        dataclasses.replace(like, folder=folders[rank], spec=specs[rank])
        for rank in dict.fromkeys([*list(specs)[:1], *cheap[-1:]])
    ]


def _averages(seed: MeasuredRun, family: str, teams: Sequence[Sequence[Member]]) -> Found:
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
        found = {}
        for limit, rule in rules.items():
            some = self.members[: rule.n_members]
            cost = sum((member.cost for member in some), TrainingCost())
            asked = rule.relative_cost(test[0], self.share) - 1.0
            outputs = dataclasses.replace(
                alone,
                predictions=averaged(test, rule),
                inference_flops=self.flops * (1.0 + self.second * asked),
                trainings=trainings_of(some),
                **cost.to_dict(),
            )
            predict = average_of(others[-1].network(), first.predict, rule)
            found[limit] = (self.seed.measured(outputs, self.in_short(rule)), predict)
        return found

    def in_short(self, rule: AveragingRule) -> str:
        """The rule in a few words."""
        rank = read_spec(self.members[-1].folder).head_rank
        words = [f"{rule.n_members} {rule.mean}"]
        words += [f"rank {rank}"] if self.second < 1.0 else []
        words += [f"the {rule.shortlist} most probable"] if rule.shortlist else []
        words += [] if rule.confidence is None else [f"all up to {rule.confidence:.1%}"]
        return ", ".join(words)
