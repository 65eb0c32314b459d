"""The rule that validation data prefer, and the predictions of the ensembles that are reported.

`ensemble` is the best candidate among those that cost at most ``combination.max_cost`` generalists
(the cheapest, told in a line of its own, if none does);
`ensemble_paper` the paper's own (KL, n = 1, weights 1); `ensemble_all` the best with every
specialist. A candidate that is less sure of the truth than the calibrated generalist (a higher
validation NLL) is chosen only if there is no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from specialists.config import CombinationConfig
from specialists.datasets.base import Inputs
from specialists.ensemble.members import Ensemble
from specialists.ensemble.rules import PAPER, Rule, active_specialists, join, mean_flops
from specialists.predictions import ModelOutputs
from specialists.runs import Run, read_array, read_json, write_array, write_json
from specialists.runtime import progress, say
from specialists.workspace import Workspace

STAGE = "combine-predictions"
NAMES = ("generalist", "ensemble", "ensemble_paper", "ensemble_all")


@dataclass(frozen=True)
class Votes:
    """What generalist and all specialists say of a split, and what that costs.

    Parameters
    ----------
    generalist : Tensor of shape (n, C)
    specialists : list of Tensors of shape (n, k_m + 1)
    subsets : list of int64 Tensors
    generalist_flops : float
    specialist_flops : Tensor of shape (M,)
    """

    generalist: Tensor
    specialists: list[Tensor]
    subsets: list[Tensor]
    generalist_flops: float
    specialist_flops: Tensor

    def active(self, rule: Rule) -> Tensor:
        return active_specialists(self.generalist, self.subsets, rule.n)

    def joined(self, rule: Rule) -> Tensor:
        return join(self.generalist, self.specialists, self.subsets, self.active(rule), rule)

    def flops(self, rule: Rule) -> float:
        """Mean over the split of one prediction."""
        return mean_flops(self.generalist_flops, self.specialist_flops, self.active(rule))


def combine_predictions(run: Run) -> None:
    """Choose on validation data how votes are joined; write all ensembles' predictions."""
    workspace = Workspace.open(run.folder)
    ensemble = Ensemble.open(workspace)
    votes = _votes(workspace, ensemble, "validation")
    labels = workspace.dataset.validation.labels
    settings = workspace.config.combination
    candidates = judge_candidates(votes, labels, settings)
    chosen = choose(affordable(candidates), settings)
    everywhere = choose([c for c in candidates if c["n"] is None], settings)
    rules = {
        "ensemble": _rule(chosen),
        "ensemble_paper": PAPER,
        "ensemble_all": _rule(everywhere),
    }
    choice = {
        "chosen": _rule(chosen).to_dict(),
        "rules": {name: rule.to_dict() for name, rule in rules.items()},
        "within_max_cost": chosen["eligible"],
        "candidates": candidates,
        "generalist": {
            **score(votes.generalist, labels),
            "inference_flops": votes.generalist_flops,
        },
    }
    write_json(workspace.path(STAGE, "choice.json"), choice)
    _write_predictions(workspace, votes, rules, "validation")
    test_votes = _votes(workspace, ensemble, "test")
    _write_predictions(workspace, test_votes, rules, "test")
    write_json(workspace.path(STAGE, "costs.json"), _costs(workspace, ensemble, test_votes, rules))
    if not chosen["eligible"]:
        say(
            f"combine-predictions: no rule costs at most {settings.max_cost:g} generalists; the "
            f"cheapest, which costs {chosen['relative_cost']:.1f}, stands in (narrower specialists "
            "or fewer classes a cluster cost less)"
        )
    before, after = choice["generalist"]["top1"], chosen["top1"]
    say(f"combine-predictions: {_words(rules['ensemble'])}, validation {before:.3f} -> {after:.3f}")


def judge_candidates(
    votes: Votes, labels: Tensor, settings: CombinationConfig
) -> list[dict[str, Any]]:
    """Validation top-1, NLL and cost of every rule that the settings name.

    Returns
    -------
    list of dict
        rule, n (None: all), weight, top1, nll, inference_flops, relative_cost, eligible.
    """
    rules = [
        Rule(rule, n, weight)
        for rule in settings.rules
        for n in (*settings.n, None)
        for weight in (settings.weights if rule == "kl" else (1.0,))
    ]
    reference = score(votes.generalist, labels)["nll"]
    candidates = []
    with progress("combination rules", len(rules)) as bar:
        for rule in rules:
            scores, flops = score(votes.joined(rule), labels), votes.flops(rule)
            relative = flops / votes.generalist_flops
            candidates.append(
                {
                    **rule.to_dict(),
                    **scores,
                    "inference_flops": flops,
                    "relative_cost": relative,
                    "eligible": relative <= settings.max_cost,
                    "lowers_nll": scores["nll"] <= reference,
                }
            )
            bar.advance()
    return candidates


def affordable(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The candidates within the cost limit or, if there is none, the cheapest."""
    cheapest = min(candidates, key=lambda candidate: candidate["inference_flops"])
    return [candidate for candidate in candidates if candidate["eligible"]] or [cheapest]


def choose(candidates: list[dict[str, Any]], settings: CombinationConfig) -> dict[str, Any]:
    """The best candidate; those that raise the generalist's NLL only if there is no other."""
    pool = [candidate for candidate in candidates if candidate["lowers_nll"]] or candidates
    if settings.select_by == "nll":
        return min(pool, key=lambda candidate: candidate["nll"])
    return max(pool, key=lambda candidate: (candidate["top1"], -candidate["nll"]))


def score(log_probs: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 (fraction) and NLL (nats) of log-probabilities [n, C]."""
    right = log_probs.argmax(1) == labels
    nll = -log_probs.gather(1, labels[:, None]).clamp_min(-100.0)
    return {"top1": float(right.double().mean()), "nll": float(nll.double().mean())}


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


def _votes(workspace: Workspace, ensemble: Ensemble, split: str) -> Votes:
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
    write_array(folder / f"{split}.active.npy", votes.active(rules["ensemble"]).numpy())


def _costs(
    workspace: Workspace, ensemble: Ensemble, votes: Votes, rules: dict[str, Rule]
) -> dict[str, Any]:
    generalist = read_json(workspace.path("train-generalist", "result.json"))
    n_examples = sum(specialist.n_examples for specialist in ensemble.specialists)
    costs = {
        "generalist": {
            "parameters": generalist["parameters"],
            "inference_flops": votes.generalist_flops,
            "training_examples": generalist["n_examples"],
        }
    }
    for name, rule in rules.items():
        costs[name] = {
            "parameters": ensemble.parameters,
            "inference_flops": votes.flops(rule),
            "training_examples": generalist["n_examples"] + n_examples,
        }
    return costs


def _rule(candidate: dict[str, Any]) -> Rule:
    return Rule(candidate["rule"], candidate["n"], candidate["weight"])


def _words(rule: Rule) -> str:
    n = "all specialists" if rule.n is None else f"n = {rule.n}"
    name = f"KL with weight {rule.weight:g}" if rule.rule == "kl" else "subset parts side by side"
    return f"{name}, {n}"
