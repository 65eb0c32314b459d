"""What else the same computing could have bought: what the rivals of an ensemble say of a split.

`generalist_continued` is trained on for as many floating-point operations as all but the generalist
took; its start may stay its best. `generalist_wide` has at most the ensemble's mean inference
FLOPs and is trained for as many operations as the whole ensemble, or for a half or a quarter of
them. `generalist_ensemble` averages k generalists that differ in their seeds, k the number of
generalists that those operations would train; `generalist_ensemble_same_inference` the first few of
them, as many as a prediction of the ensemble would pay for, rounded up (so that it may cost more;
two per cent above a whole number do not count), but no more than there are;
`generalist_ensemble_deferred` some of them, of which the later ones are asked only where the first
is unsure, or only about its most probable classes, for at most the ensemble's cost on validation.
Whatever is to be chosen (a schedule, how members are averaged, what they are asked) is chosen on
validation rows as the ensemble's rule is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from specialists.baselines.averages import (
    AverageCandidate,
    AveragingRule,
    averaged,
    deferring_rules,
    everywhere,
    judge_averages,
)
from specialists.baselines.budget import Budget, budget_of
from specialists.baselines.trainings import AVERAGED, CONTINUED, STAGE, baseline_tasks
from specialists.classifier import train_classifiers
from specialists.ensemble import choose, cost_sample, score
from specialists.errors import InputError
from specialists.generalist import STAGE as GENERALIST
from specialists.generalist import chosen_training
from specialists.networks import find_head, inference_flops, load_network, n_parameters
from specialists.predictions import ModelOutputs, predict_log_probs
from specialists.runs import Run, read_json, write_json
from specialists.training import TrainingCost
from specialists.workspace import Workspace

SAME_INFERENCE = "generalist_ensemble_same_inference"
DEFERRED = "generalist_ensemble_deferred"


@dataclass(frozen=True)
class Member:
    """One trained generalist of a run.

    Parameters
    ----------
    workspace : Workspace
    folder : Path
        Of its network.
    """

    workspace: Workspace
    folder: Path

    def log_probs(self, split: str) -> Tensor:
        """Calibrated log-probabilities of a split, shape (n, C)."""
        network, _, about = load_network(self.folder)
        inputs = self.workspace.split(split).inputs
        return predict_log_probs(network.to(self.workspace.device), inputs, about["temperature"])

    def network(self) -> nn.Module:
        return load_network(self.folder)[0].to(self.workspace.device)

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
    """Train the rivals that do not yet stand; what each says of a split, by name."""
    workspace = Workspace.open(run.folder)
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
        outputs[name] = _single(name, members[best], start, split, len(candidates))
    write_json(workspace.path(STAGE, "baselines.json"), {k: _record(*v) for k, v in chosen.items()})
    return outputs


@dataclass(frozen=True)
class _Schedule:
    index: int
    top1: float
    nll: float
    lowers_nll: bool = True


def best_schedule(members: Sequence[Member]) -> tuple[int, list[dict[str, Any]]]:
    """Which training validation prefers, and what it says of each."""
    workspace = members[0].workspace
    labels = workspace.dataset.validation.labels
    scores = [score(member.log_probs("validation"), labels) for member in members]
    judged = [_Schedule(i, each["top1"], each["nll"]) for i, each in enumerate(scores)]
    best = choose(judged, workspace.config.combination).index
    costs = [member.cost.to_dict() for member in members]
    return best, [{**found, **cost} for found, cost in zip(scores, costs, strict=True)]


def averaging_rules(
    members: Sequence[Member], budget: Budget
) -> dict[str, tuple[AveragingRule, list[AverageCandidate]]]:
    """The rule of each average that validation prefers, and all its candidates, by name."""
    workspace = members[0].workspace
    labels = workspace.dataset.validation.labels
    log_probs = [member.log_probs("validation") for member in members]
    share = head_share(members[0])
    tried = {
        AVERAGED: everywhere(len(members)),
        SAME_INFERENCE: everywhere(budget.n_asked),
        DEFERRED: deferring_rules(log_probs[0], len(members), budget.relative_cost, share),
    }
    found = {}
    for name, rules in tried.items():
        candidates = judge_averages(rules, log_probs, labels, share)
        found[name] = (choose(candidates, workspace.config.combination).rule, candidates)
    return found


def head_share(member: Member) -> float:
    """The head's part of one prediction's FLOPs; 0 where there is no head to take rows of."""
    network, dataset = member.network(), member.workspace.dataset
    try:
        head = network.get_submodule(find_head(network, dataset.n_classes))
    except InputError:
        return 0.0
    assert isinstance(head, nn.Linear)
    inputs = cost_sample(dataset.validation.inputs).to(member.workspace.device)
    return 2.0 * head.in_features * head.out_features / inference_flops(network, inputs)


def _record(chosen: AveragingRule | int, candidates: list[dict[str, Any]]) -> dict[str, Any]:
    shown = asdict(chosen) if isinstance(chosen, AveragingRule) else chosen
    return {"chosen": shown, "candidates": candidates}


def _single(
    name: str, member: Member, start: Sequence[Member], split: str, n_trials: int
) -> ModelOutputs:
    """A classifier that was trained, from ``start`` if that is one."""
    network = member.network()
    inputs = cost_sample(member.workspace.split(split).inputs).to(member.workspace.device)
    return ModelOutputs(
        name,
        member.log_probs(split).numpy(),
        n_parameters(network),
        inference_flops(network, inputs),
        **_trained([*start, member]),
        tuning_trials=n_trials,
    )


def _mean(
    members: Sequence[Member], rule: AveragingRule, split: str, name: str, n_trials: int
) -> ModelOutputs:
    own = members[: rule.n_members]
    network, workspace = own[0].network(), own[0].workspace
    inputs = cost_sample(workspace.split(split).inputs).to(workspace.device)
    first = own[0].log_probs(split)

    def log_probs() -> Iterator[Tensor]:
        yield first
        yield from (member.log_probs(split) for member in own[1:])

    return ModelOutputs(
        name,
        averaged(log_probs(), rule).numpy(),
        len(own) * n_parameters(network),
        inference_flops(network, inputs) * rule.relative_cost(first, head_share(own[0])),
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
