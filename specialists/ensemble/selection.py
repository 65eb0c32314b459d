"""The rule that validation data prefer, and the predictions of the ensembles that are reported.

`ensemble` is the best candidate among those that cost at most ``combination.max_cost`` generalists
(the best of the cheapest, told in a line of its own, if none does); `ensemble_paper` the paper's
own (KL, n = 1, weights 1); `ensemble_all` the best with every specialist. A candidate that is less
sure of the truth than the calibrated generalist (a higher validation NLL) is chosen only if there
is no other. Only `ensemble` has to pass the gate (:mod:`specialists.ensemble.gate`): where rows
kept for that test do not say that it helps, it is its generalist.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from specialists.datasets.base import Inputs
from specialists.ensemble.candidates import (
    Candidate,
    Votes,
    affordable,
    choose,
    judge_candidates,
    score,
)
from specialists.ensemble.costs import ensemble_costs
from specialists.ensemble.gate import NO_ROWS, NOT_WANTED, Decision, pass_gate, untested
from specialists.ensemble.members import Ensemble
from specialists.ensemble.rules import PAPER, Rule
from specialists.predictions import ModelOutputs
from specialists.runs import Run, read_array, read_json, write_array, write_json
from specialists.workspace import Workspace

log = logging.getLogger(__name__)

STAGE = "combine-predictions"
NAMES = ("generalist", "ensemble", "ensemble_paper", "ensemble_all")


def combine_predictions(run: Run) -> None:
    """Choose on validation data how votes are joined; write all ensembles' predictions."""
    workspace = Workspace.open(run.folder)
    ensemble = Ensemble.open(workspace)
    votes = gather_votes(workspace, ensemble, "validation")
    labels = workspace.dataset.validation.labels
    settings = workspace.config.combination
    candidates = judge_candidates(votes, labels, settings)
    chosen = choose(affordable(candidates), settings)
    everywhere = choose([c for c in candidates if c["n"] is None], settings)
    decision = _decide(workspace, ensemble, votes, Rule.from_dict(chosen))
    rules = {
        "ensemble": decision.rule,
        "ensemble_paper": PAPER,
        "ensemble_all": Rule.from_dict(everywhere),
    }
    cost = votes.flops(decision.rule) / votes.generalist_flops
    choice = {
        "chosen": decision.rule.to_dict(),
        "rules": {name: rule.to_dict() for name, rule in rules.items()},
        "relative_cost": cost,
        "within_max_cost": cost <= settings.max_cost,
        "asked": float(votes.active(decision.rule).any(1).double().mean()),
        "candidates": candidates,
        "gate": decision.record,
        "generalist": score(votes.generalist, labels) | {"inference_flops": votes.generalist_flops},
    }
    write_json(workspace.path(STAGE, "choice.json"), choice)
    _write_predictions(workspace, votes, rules, "validation")
    test_votes = gather_votes(workspace, ensemble, "test")
    _write_predictions(workspace, test_votes, rules, "test")
    costs = ensemble_costs(workspace, ensemble, test_votes, rules, candidates)
    write_json(workspace.path(STAGE, "costs.json"), costs)
    if cost > settings.max_cost:
        _tell_too_dear(cost, settings.max_cost)
    _tell(decision, votes, labels, chosen)


def _tell_too_dear(cost: float, limit: float) -> None:
    log.info(
        f"{STAGE}: no rule costs at most {limit:g} generalists; the "
        f"cheapest, which costs {cost:.1f}, stands in (smaller shares in "
        "combination.deferral, narrower specialists or fewer classes a cluster cost less)"
    )


def _decide(workspace: Workspace, ensemble: Ensemble, votes: Votes, rule: Rule) -> Decision:
    """Whether, and with which specialists, the chosen rule may answer."""
    settings, dataset = workspace.config.combination, workspace.dataset
    if settings.gate == "off":
        return untested(rule, settings.gate, "combination.gate is off")
    if dataset.gate is None:
        wanted = workspace.config.data.gate_fraction > 0
        return untested(rule, settings.gate, NO_ROWS if wanted else NOT_WANTED, refused=wanted)
    known = (votes, dataset.validation.labels)
    kept = (gather_votes(workspace, ensemble, "gate"), dataset.gate.labels)
    return pass_gate(rule, *known, *kept, settings, dataset.gate.units)


def _tell(decision: Decision, votes: Votes, labels: Tensor, chosen: Candidate) -> None:
    """Who may answer, and what it brings on validation rows."""
    if decision.record["method"] != "off":
        log.info(f"{STAGE}: {decision.in_words()}")
    if decision.outcome == "refused":
        return
    before, after = score(votes.generalist, labels)["top1"], chosen["top1"]
    if decision.rule.members is not None:
        after = score(votes.joined(decision.rule), labels)["top1"]
    words = decision.rule.in_words()
    log.info(f"{STAGE}: {words}; validation top-1 {before:.3f} -> {after:.3f}")


def ensemble_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What the generalist and the ensembles said of a split, by name."""
    costs = read_json(run.path(STAGE, "costs.json"))
    return {
        name: ModelOutputs(name, read_array(run.path(STAGE, f"{split}.{name}.npy")), **costs[name])
        for name in NAMES
    }


def cost_sample(inputs: Inputs, n: int = 1024) -> Inputs:
    """At most ``n`` evenly spaced inputs, to count operations on."""
    return inputs[torch.linspace(0, len(inputs) - 1, min(n, len(inputs))).long()]


def gather_votes(workspace: Workspace, ensemble: Ensemble, split: str) -> Votes:
    """What generalist and all specialists say of a split."""
    inputs = workspace.split(split).inputs
    features = ensemble.features(inputs)
    generalist, each = ensemble.flops(cost_sample(inputs).to(workspace.device))
    return Votes(
        ensemble.generalist_log_probs(features),
        ensemble.specialist_log_probs(features),
        ensemble.subsets,
        generalist,
        each,
    )


def _write_predictions(
    workspace: Workspace, votes: Votes, rules: dict[str, Rule], split: str
) -> None:
    folder = workspace.path(STAGE)
    write_array(folder / f"{split}.generalist.npy", votes.generalist.numpy())
    for name, rule in rules.items():
        write_array(folder / f"{split}.{name}.npy", votes.joined(rule).float().numpy())
    active = votes.active(rules["ensemble"])
    write_array(folder / f"{split}.active.npy", active.numpy())
