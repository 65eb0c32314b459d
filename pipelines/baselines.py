"""The baselines of a run: what they may cost, their trainings, what they predict for a split.

Baselines and ensemble are matched by floating-point operations. The whole ensemble counts: its
generalist, its specialists, and generalists that were trained only to find the clusters or for
specialists to start from. `generalist_continued` is the generalist trained longer, for as many
FLOPs as the rest of the ensemble took; its start may stay its best. `generalist_wide` has at most
the ensemble's mean inference FLOPs and is trained for as many FLOPs as the whole ensemble, or for a
half or a quarter of them. `generalist_ensemble` averages as many generalists as those FLOPs would
train, each with a seed of its own; :mod:`specialists.baselines.matching` averages some of them.

All but the averaged generalists are trained to the end of their schedule, and the best epoch by
validation counts: noise would end them too early, while the learning rate is still high. Validation
rows choose everything, as they choose the ensemble's rule.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from specialists.baselines import (
    SCHEDULES,
    AverageCandidate,
    AveragingRule,
    Budget,
    averaged,
    choose_averages,
    head_share,
    widened,
)
from specialists.catalogue import AVERAGED, CONTINUED
from specialists.ensemble import choose, score
from specialists.files import read_json, write_json
from specialists.networks import ARCHITECTURES, NetworkSpec, load_network, read_spec
from specialists.predictions import ModelOutputs
from specialists.training import TrainingCost

from .classifiers import Member, train_classifiers, training_flops_per_example
from .context import RunContext
from .rivals import RivalTask, settle
from .runs import Run
from .terminal import log
from .train_generalist import STAGE as GENERALIST
from .train_generalist import chosen_training

STAGE = "evaluate-models"


def budget_of(context: RunContext) -> Budget:
    """What the ensemble of a run cost; a generalist that was given counts as if trained here."""
    costs = read_json(context.path("combine-predictions", "costs.json"))
    choice = read_json(context.path("combine-predictions", "choice.json"))
    seen, total = (TrainingCost.from_dict(costs[name]) for name in ("generalist", "ensemble"))
    further = TrainingCost(total.examples - seen.examples, total.flops - seen.flops)
    return Budget(
        seen if seen.examples else _as_if_trained(context),
        further,
        costs["ensemble"]["inference_flops"],
        costs["generalist"]["inference_flops"],
        choice["relative_cost"],
    )


def _as_if_trained(context: RunContext) -> TrainingCost:
    recipe = context.config.generalist
    n_examples = (recipe.epochs or 1) * len(context.dataset.train)
    network = load_network(context.path(GENERALIST))[0]
    return TrainingCost(n_examples, n_examples * training_flops_per_example(context, network))


def baseline_tasks(context: RunContext, budget: Budget) -> dict[str, list[RivalTask]]:
    """The trainings of each baseline that the configuration asks for, by name."""
    spec = read_spec(context.path(GENERALIST))
    recipe = context.config.generalist
    patient = recipe.model_copy(update={"patience": 10**6})
    folder = context.path(STAGE, "baselines")

    def task(name: str, spec: NetworkSpec = spec, **changes) -> RivalTask:
        keep = context.config.evaluation.keep_rivals
        values = {"recipe": recipe, "seed": context.seed(name), "keep": keep, **changes}
        return RivalTask(context.folder, folder / name, spec, **values)

    tasks = {}
    for name in context.config.evaluation.trained_baselines:
        if name == CONTINUED:
            start, flops = context.path(GENERALIST), budget.further.flops
            tasks[name] = [task(name, recipe=patient, start=start, flops=flops)]
        elif name == AVERAGED:
            tasks[name] = [task(f"{name}-{i}") for i in range(1, budget.n_generalists)]
        elif spec.model in ARCHITECTURES:
            wider = widened(spec, context.dataset.test.inputs, budget.inference_flops)
            tasks[name] = [
                task(f"{name}-{i}", wider, recipe=patient, flops=part * budget.training_flops)
                for i, part in enumerate(SCHEDULES)
            ]
        else:
            log.info(f"{STAGE}: no {name}, since {spec.model} does not come in widths")
    return tasks


def baseline_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """Train the baselines that do not yet stand; what each predicts for a split, by name."""
    context = RunContext.open(run.folder)
    if context.is_given:
        why = "of the generalist only predictions are known, no network to train again"
        log.info(f"{STAGE}: no rivals: {why}")
        write_json(context.path(STAGE, "baselines.json"), {})
        return {}
    budget = budget_of(context)
    tasks = baseline_tasks(context, budget)
    longest_first = sorted(
        itertools.chain(*tasks.values()),
        key=lambda task: -(task.flops or budget.generalist.flops),
    )
    settle(context, longest_first)
    train_classifiers(longest_first, run.jobs, "baselines")
    base = Member(context, context.path(GENERALIST))
    outputs, record = {}, {}
    for name, group in tasks.items():
        members = [Member(context, task.folder) for task in group]
        if name == AVERAGED:
            members = [base, *members]
            for key, (rule, averages) in averaging_rules(members, budget).items():
                candidates = [candidate.to_dict() for candidate in averages]
                record[key] = {"chosen": asdict(rule), "candidates": candidates}
                outputs[key] = _mean(members, rule, split, key, len(candidates))
            continue
        best, candidates = best_schedule(members)
        record[name] = {"chosen": best, "candidates": candidates}
        member = members[best]
        trained = [base, member] if name == CONTINUED else [member]
        if name == CONTINUED and read_json(member.folder / "result.json")["best_epoch"] == 0:
            log.info(f"{STAGE}: {name}: validation prefers its start, the generalist itself")
        outputs[name] = _with_trainings(member.outputs(name, split), trained, len(candidates))
    write_json(context.path(STAGE, "baselines.json"), record)
    return outputs


@dataclass(frozen=True)
class _Schedule:
    index: int
    top1: float
    nll: float
    lowers_nll: bool = True


def best_schedule(members: Sequence[Member]) -> tuple[int, list[dict[str, float]]]:
    """Which training validation prefers, and the scores and cost of each."""
    context = members[0].context
    labels = context.dataset.validation.labels
    scores = [score(replace(member).predictions("validation"), labels) for member in members]
    schedules = [_Schedule(i, each["top1"], each["nll"]) for i, each in enumerate(scores)]
    best = choose(schedules, context.config.combination).index
    costs = [member.cost.to_dict() for member in members]
    return best, [{**each, **cost} for each, cost in zip(scores, costs, strict=True)]


def averaging_rules(
    members: Sequence[Member], budget: Budget
) -> dict[str, tuple[AveragingRule, list[AverageCandidate]]]:
    """The rule of each average that validation prefers, and all its candidates, by name."""
    context = members[0].context
    labels, settings = context.dataset.validation.labels, context.config.combination
    predictions = [replace(member).predictions("validation") for member in members]
    share = _head_share(members[0], "validation")
    return choose_averages(predictions, labels, budget, share, settings)


def _head_share(member: Member, split: str) -> float:
    n_classes = member.context.dataset.n_classes
    return head_share(member.network(), n_classes, member.sample(split))


def _mean(
    members: Sequence[Member], rule: AveragingRule, split: str, name: str, n_trials: int
) -> ModelOutputs:
    members = members[: rule.n_members]
    first = members[0].outputs(name, split)
    others = (replace(member).predictions(split) for member in members[1:])
    cost = rule.relative_cost(first.predictions, _head_share(members[0], split))
    mean = replace(
        first,
        predictions=averaged(itertools.chain([first.predictions], others), rule),
        parameters=len(members) * first.parameters,
        inference_flops=first.inference_flops * cost,
    )
    return _with_trainings(mean, members, n_trials)


def _with_trainings(
    outputs: ModelOutputs, members: Sequence[Member], n_trials: int
) -> ModelOutputs:
    """The outputs with what the trainings of all ``members`` took, and where they lie."""
    cost = sum((member.cost for member in members), TrainingCost())
    trainings = trainings_of(members)
    return replace(outputs, **cost.to_dict(), tuning_trials=n_trials, trainings=trainings)


def trainings_of(members: Sequence[Member]) -> tuple[str, ...]:
    """Folders of the members' trainings, below the run's; a generalist that was given has none."""
    context = members[0].context
    base = context.path(GENERALIST)
    folders = [chosen_training(context) if m.folder == base else m.folder for m in members]
    return tuple(context.below(folder) for folder in folders if folder is not None)
