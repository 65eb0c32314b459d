"""What a generalist and its ensembles cost, in inference and in training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from specialists.ensemble.candidates import Candidate, Votes
from specialists.ensemble.members import Ensemble
from specialists.ensemble.rules import Rule
from specialists.runs import read_json
from specialists.training import TrainingCost
from specialists.workspace import Workspace


def ensemble_costs(
    workspace: Workspace,
    ensemble: Ensemble,
    votes: Votes,
    rules: dict[str, Rule],
    candidates: list[Candidate],
) -> dict[str, Any]:
    """What each ensemble takes: all its specialists are trained, whoever may vote."""
    from specialists.pipelines.generalists import chosen_training, initial_generalists
    from specialists.pipelines.specialist_tasks import specialist_tasks

    trained = read_json(workspace.path("train-generalist", "result.json"))
    generalist, base = TrainingCost.from_dict(trained), chosen_training(workspace)
    clusters = read_json(workspace.path("cluster-classes", "costs.json"))
    soft_targets = len(workspace.dataset.train) * votes.generalist_flops
    further = TrainingCost.from_dict(clusters) + TrainingCost(flops=soft_targets)
    independents = [task.folder for task in initial_generalists(workspace)]
    for folder in independents:
        further += TrainingCost.from_dict(read_json(folder / "result.json"))
    further = sum((specialist.cost for specialist in ensemble.specialists), further)
    members = [task.folder for task in specialist_tasks(workspace)]
    folders = [*clusters["trainings"], *_below(workspace, [*independents, *members])]
    own = [] if base is None else _below(workspace, [base])
    trials = {"ensemble_paper": 1, "ensemble_all": sum(c["n"] is None for c in candidates)}
    costs = {
        "generalist": {
            "parameters": trained["parameters"],
            "inference_flops": votes.generalist_flops,
            **generalist.to_dict(),
            "tuning_trials": len(workspace.config.generalist.widths or (0,)),
            "trainings": own,
        }
    }
    for name, rule in rules.items():
        costs[name] = {
            "parameters": ensemble.of(rule.members).parameters,
            "inference_flops": votes.flops(rule),
            **(generalist + further).to_dict(),
            "tuning_trials": trials.get(name, len(candidates)),
            "trainings": [*own, *folders],
        }
    return costs


def _below(workspace: Workspace, folders: Sequence[Path]) -> list[str]:
    return [folder.relative_to(workspace.folder).as_posix() for folder in folders]
