"""The baselines of a run: what they cost at most, their trainings, what they say of a split.

Matched are floating-point operations. Counted is what the whole ensemble took: its generalist, its
specialists, and generalists that were trained only to find the clusters or for specialists to start
from. `generalist_continued` is trained on for as many as all but the generalist took; its start may
stay its best. `generalist_wide` has at most the ensemble's mean inference FLOPs and is trained for
as many as the whole ensemble, or for a half or a quarter of them. `generalist_ensemble` averages k
generalists that differ in their seeds, k the number of generalists that those operations would
train; averages of some of them are those of :mod:`specialists.baselines.matching`.

All but the averaged generalists are trained to the end of their schedule: the best epoch by
validation counts, but there is no early end, which noise would cause while the learning rate is
still high. Whatever is to be chosen is chosen on validation rows as the ensemble's rule is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from specialists.baselines import (
    AverageCandidate,
    AveragingRule,
    Budget,
    averaged,
    choose_averages,
    head_share,
    widened,
)
from specialists.catalogue import AVERAGED, CONTINUED, WIDE
from specialists.datasets.base import Inputs
from specialists.ensemble import choose, cost_sample, score
from specialists.networks import (
    ARCHITECTURES,
    NetworkSpec,
    inference_flops,
    load_network,
    n_parameters,
)
from specialists.predictions import ModelOutputs, Predictions, predict
from specialists.runs import read_json, write_json
from specialists.training import TrainingCost

from .classifiers import ClassifierTask, train_classifiers, training_flops_per_example
from .context import RunContext
from .generalists import STAGE as GENERALIST
from .generalists import chosen_training
from .runs import Run
from .terminal import log

STAGE = "evaluate-models"
SCHEDULES = (1.0, 0.5, 0.25)  # parts of the budget; validation chooses one for the wide generalist


def budget_of(workspace: RunContext) -> Budget:
    """What the ensemble of a run cost; a generalist that was given counts as if trained here."""
    costs = read_json(workspace.path("combine-predictions", "costs.json"))
    choice = read_json(workspace.path("combine-predictions", "choice.json"))
    seen, total = (TrainingCost.from_dict(costs[name]) for name in ("generalist", "ensemble"))
    further = TrainingCost(total.examples - seen.examples, total.flops - seen.flops)
    return Budget(
        seen if seen.examples else _as_if_trained(workspace),
        further,
        costs["ensemble"]["inference_flops"],
        costs["generalist"]["inference_flops"],
        choice["relative_cost"],
    )


def _as_if_trained(workspace: RunContext) -> TrainingCost:
    recipe = workspace.config.generalist
    n_examples = (recipe.epochs or 1) * len(workspace.dataset.train)
    network = load_network(workspace.path(GENERALIST))[0]
    return TrainingCost(n_examples, n_examples * training_flops_per_example(workspace, network))


def baseline_tasks(workspace: RunContext, budget: Budget) -> dict[str, list[ClassifierTask]]:
    """The trainings of each baseline that the configuration asks for, by name."""
    _, spec, _ = load_network(workspace.path(GENERALIST))
    recipe = workspace.config.generalist
    patient = recipe.model_copy(update={"patience": 10**6})
    folder = workspace.path(STAGE, "controls")

    def task(name: str, spec: NetworkSpec = spec, **changes) -> ClassifierTask:
        values = {"recipe": recipe, "seed": workspace.seed(name), **changes}
        return ClassifierTask(workspace.folder, folder / name, spec, **values)

    def continued() -> list[ClassifierTask]:
        start, flops = workspace.path(GENERALIST), budget.further.flops
        return [task(CONTINUED, recipe=patient, start=start, flops=flops)]

    def wide() -> list[ClassifierTask]:
        wider = widened(spec, workspace.dataset.test.inputs, budget.inference_flops)
        return [
            task(f"{WIDE}-{i}", wider, recipe=patient, flops=part * budget.training_flops)
            for i, part in enumerate(SCHEDULES)
        ]

    def averaged() -> list[ClassifierTask]:
        return [task(f"{AVERAGED}-{i}") for i in range(1, budget.n_generalists)]

    makers: dict[str, Callable[[], list[ClassifierTask]]]
    makers = {CONTINUED: continued, WIDE: wide, AVERAGED: averaged}
    wanted = list(workspace.config.evaluation.controls)
    if WIDE in wanted and spec.model not in ARCHITECTURES:
        log.info(f"{STAGE}: no {WIDE}, since {spec.model} does not come in widths")
        wanted.remove(WIDE)
    return {name: makers[name]() for name in wanted}


@dataclass(frozen=True)
class Member:
    """One trained generalist of a run.

    Parameters
    ----------
    workspace : RunContext
    folder : Path
        Of its network.
    """

    workspace: RunContext
    folder: Path

    def predictions(self, split: str) -> Predictions:
        """Calibrated predictions of a split."""
        network, _, about = load_network(self.folder)
        network.to(self.workspace.device)
        inputs = self.workspace.split(split).inputs
        return predict(network, inputs, about["temperature"])

    def network(self) -> nn.Module:
        return load_network(self.folder)[0].to(self.workspace.device)

    def head_share(self, split: str) -> float:
        """The head's part of one prediction's FLOPs."""
        return head_share(self.network(), self.workspace.dataset.n_classes, self.sample(split))

    def inference_flops(self, split: str) -> float:
        """Of one prediction."""
        return inference_flops(self.network(), self.sample(split))

    def sample(self, split: str) -> Inputs:
        """Inputs of a split to count operations on."""
        return cost_sample(self.workspace.split(split).inputs).to(self.workspace.device)

    @property
    def is_generalist(self) -> bool:
        return self.folder == self.workspace.path(GENERALIST)

    @property
    def training(self) -> Path | None:
        """The folder of its training; None for a generalist that was given."""
        return chosen_training(self.workspace) if self.is_generalist else self.folder

    @property
    def cost(self) -> TrainingCost:
        return TrainingCost.from_dict(read_json(self.folder / "result.json"))


def baseline_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """Train the baselines that do not yet stand; what each says of a split, by name."""
    workspace = RunContext.open(run.folder)
    budget = budget_of(workspace)
    tasks = baseline_tasks(workspace, budget)
    train_classifiers([task for group in tasks.values() for task in group], run.jobs, "rivals")
    base = Member(workspace, workspace.path(GENERALIST))
    outputs, chosen = {}, {}
    for name, group in tasks.items():
        members = [Member(workspace, task.folder) for task in group]
        if name == AVERAGED:
            rules = averaging_rules([base, *members], budget)
            for key, (rule, averages) in rules.items():
                candidates = [candidate.to_dict() for candidate in averages]
                chosen[key] = (rule, candidates)
                outputs[key] = _mean([base, *members], rule, split, key, len(candidates))
            continue
        best, candidates = best_schedule(members)
        chosen[name] = (best, candidates)
        start = [base] if name == CONTINUED else []
        if start and read_json(members[0].folder / "result.json")["best_epoch"] == 0:
            log.info(f"{STAGE}: {name}: validation prefers its start, the generalist itself")
        outputs[name] = _single(name, members[best], start, split, len(candidates))
    write_json(workspace.path(STAGE, "baselines.json"), {k: _record(*v) for k, v in chosen.items()})
    return outputs


@dataclass(frozen=True)
class _Schedule:
    index: int
    top1: float
    nll: float
    lowers_nll: bool = True


def best_schedule(members: Sequence[Member]) -> tuple[int, list[dict[str, float]]]:
    """Which training validation prefers, and what it says of each."""
    workspace = members[0].workspace
    labels = workspace.dataset.validation.labels
    scores = [score(member.predictions("validation"), labels) for member in members]
    judged = [_Schedule(i, each["top1"], each["nll"]) for i, each in enumerate(scores)]
    best = choose(judged, workspace.config.combination).index
    costs = [member.cost.to_dict() for member in members]
    return best, [{**found, **cost} for found, cost in zip(scores, costs, strict=True)]


def averaging_rules(
    members: Sequence[Member], budget: Budget
) -> dict[str, tuple[AveragingRule, list[AverageCandidate]]]:
    """The rule of each average that validation prefers, and all its candidates, by name."""
    workspace = members[0].workspace
    labels, settings = workspace.dataset.validation.labels, workspace.config.combination
    predictions = [member.predictions("validation") for member in members]
    share = members[0].head_share("validation")
    return choose_averages(predictions, labels, budget, share, settings)


def _record(chosen: AveragingRule | int, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    shown = asdict(chosen) if isinstance(chosen, AveragingRule) else chosen
    return {"chosen": shown, "candidates": candidates}


def _single(
    name: str, member: Member, start: Sequence[Member], split: str, n_trials: int
) -> ModelOutputs:
    """A classifier that was trained, from ``start`` if that is one."""
    return ModelOutputs(
        name,
        member.predictions(split),
        n_parameters(member.network()),
        member.inference_flops(split),
        **_trained([*start, member]),
        tuning_trials=n_trials,
    )


def _mean(
    members: Sequence[Member], rule: AveragingRule, split: str, name: str, n_trials: int
) -> ModelOutputs:
    own = members[: rule.n_members]
    first = own[0].predictions(split)
    others = (member.predictions(split) for member in own[1:])

    return ModelOutputs(
        name,
        averaged(itertools.chain([first], others), rule),
        len(own) * n_parameters(own[0].network()),
        own[0].inference_flops(split) * rule.relative_cost(first, own[0].head_share(split)),
        **_trained(own),
        tuning_trials=n_trials,
    )


def _trained(members: Sequence[Member]) -> dict[str, Any]:
    """What the trainings of some members took together, and where they lie."""
    folder = members[0].workspace.folder
    trainings = [member.training for member in members]
    return {
        **sum((member.cost for member in members), TrainingCost()).to_dict(),
        "trainings": tuple(t.relative_to(folder).as_posix() for t in trainings if t is not None),
    }
