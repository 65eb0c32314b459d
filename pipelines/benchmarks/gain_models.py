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
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from specialists.catalogue import AVERAGED, CONTINUED, ENSEMBLE, GENERALIST, WIDE
from specialists.ensemble import Choice, CombinationRule, Ensemble, choose
from specialists.evaluation import measure_times
from specialists.files import read_json, sha256
from specialists.files.ownership import MANIFEST
from specialists.networks import (
    ARCHITECTURES,
    build,
    read_spec,
    with_allowed_rank,
)
from specialists.predictions import ModelOutputs
from specialists.runtime import processor_name
from specialists.training import TrainingCost

from ..baselines import budget_of
from ..classifiers import (
    ClassifierTask,
    Member,
    train_classifiers,
    training_flops_per_example,
)
from ..combine_predictions import ensemble_outputs, open_ensemble
from ..rivals import RivalTask
from ..shared_specialists import shared_tasks
from ..timed_models import fresh_beside, predicting
from ..train_generalist import initial_generalists
from ..train_specialists import specialist_tasks
from .equal_compute import width_tasks
from .gain_averages import LIMITS, Found, best_averages
from .kept_models import kept_models
from .measured import Measured, MeasuredRun
from .measured_pieces import measured_in_pieces

CLUSTERS, SHARED, BOTH = "specialists of clusters", "shared specialists", "both kinds of them"
SMALL = "a smaller second generalist"
RANKS = (32, 64, 128)  # of its head
TWICE = "2x"
FOLDER = "gain-by-cost"  # of a run


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
    small = [Member(context, task.folder) for task in rivals[SMALL]]
    found = [
        *_single_networks(seed, base, rivals),
        *_specialists(seed),
        *best_averages(seed, AVERAGED, [[base, *others]]),
        *best_averages(seed, SMALL, [[base, one] for one in small]),
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
    chosen: dict[str, CombinationRule] = {}
    for family in (CLUSTERS, SHARED, BOTH):
        of_family = [c for c in candidates if _family(c) == family]
        best = None
        for limit in LIMITS:
            within = [c for c in of_family if c.relative_cost <= limit]
            if within and (rule := choose(within, settings).rule) != best:
                chosen[f"{family}, {limit:g}x"] = best = rule
    whole = _with_costs(seed, ensemble, chosen)
    measured = measured_in_pieces(seed, partial(_joined, seed, ensemble, chosen, whole))
    for name, rule in chosen.items():
        yield name, measured[name], dataclasses.replace(ensemble, rule=rule).predictions


def _with_costs(
    seed: MeasuredRun, ensemble: Ensemble, rules: Mapping[str, CombinationRule]
) -> dict[str, ModelOutputs]:
    """The run's ensemble with what each rule costs to train."""
    stored, found = ensemble_outputs(seed.run, "test"), {}
    for name, rule in rules.items():
        cost, folders = _further(seed, ensemble, rule)
        found[name] = dataclasses.replace(
            stored[ENSEMBLE],
            training_flops=stored[GENERALIST].training_flops + cost.flops,
            trainings=(*stored[GENERALIST].trainings, *folders),
        )
    return found


def _joined(
    seed: MeasuredRun,
    ensemble: Ensemble,
    rules: Mapping[str, CombinationRule],
    whole: Mapping[str, ModelOutputs],
    rows: Tensor,
) -> dict[str, tuple[ModelOutputs, str]]:
    """What each rule says of some test rows."""
    test = ensemble.member_predictions(seed.context.split("test").inputs[rows])
    found = {}
    for name, rule in rules.items():
        outputs = dataclasses.replace(
            whole[name], predictions=test.joined(rule), inference_flops=test.flops(rule)
        )
        found[name] = outputs, rule.in_short()
    return found


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
