"""The ensemble of a run: its networks, the rule that was chosen, its costs and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from specialists.ensemble import Choice, CombinationRule, Ensemble, MemberPredictions
from specialists.predictions import ModelOutputs, read_predictions
from specialists.runs import read_json, write_array
from specialists.training import TrainingCost

from .context import RunContext
from .generalists import chosen_training, initial_generalists
from .runs import Run
from .specialist_tasks import load_specialists, specialist_tasks
from .trunk_files import split_generalist

STAGE = "combine-predictions"
NAMES = ("generalist", "ensemble", "ensemble_paper", "ensemble_all")


def open_ensemble(workspace: RunContext) -> Ensemble:
    """The ensemble of a run whose specialists are trained, with the paper's rule."""
    lower, upper = split_generalist(workspace)
    calibration = read_json(workspace.path("train-generalist", "calibration.json"))
    specialists = load_specialists(workspace)
    for specialist in specialists:
        specialist.network.to(workspace.device)
    temperature = float(calibration["temperature"])
    return Ensemble(upper, specialists, temperature=temperature, lower=lower)


def chosen_rule(workspace: RunContext) -> CombinationRule:
    """The rule of `ensemble`, with the specialists that may answer."""
    return CombinationRule.from_dict(read_json(workspace.path(STAGE, "choice.json"))["chosen"])


def ensemble_costs(
    workspace: RunContext, ensemble: Ensemble, predictions: MemberPredictions, choice: Choice
) -> dict[str, Any]:
    """What each ensemble takes: all its specialists are trained, whoever may be asked."""
    trained = read_json(workspace.path("train-generalist", "result.json"))
    generalist, base = TrainingCost.from_dict(trained), chosen_training(workspace)
    clusters = read_json(workspace.path("cluster-classes", "costs.json"))
    soft_targets = len(workspace.dataset.train) * predictions.generalist_flops
    further = TrainingCost.from_dict(clusters) + TrainingCost(flops=soft_targets)
    independents = [task.folder for task in initial_generalists(workspace)]
    for folder in independents:
        further += TrainingCost.from_dict(read_json(folder / "result.json"))
    further = sum((specialist.cost for specialist in ensemble.specialists), further)
    trained_for_it = [*independents, *(task.folder for task in specialist_tasks(workspace))]
    folders = [*clusters["trainings"], *_below(workspace, trained_for_it)]
    start = [] if base is None else _below(workspace, [base])
    of_all = sum(candidate.rule.n is None for candidate in choice.candidates)
    trials = {"ensemble_paper": 1, "ensemble_all": of_all}
    costs = {
        "generalist": {
            "parameters": trained["parameters"],
            "inference_flops": predictions.generalist_flops,
            **generalist.to_dict(),
            "tuning_trials": len(workspace.config.generalist.widths or (0,)),
            "trainings": start,
        }
    }
    for name, rule in choice.rules.items():
        costs[name] = {
            "parameters": replace(ensemble, rule=rule).parameters,
            "inference_flops": predictions.flops(rule),
            **(generalist + further).to_dict(),
            "tuning_trials": trials.get(name, len(choice.candidates)),
            "trainings": [*start, *folders],
        }
    return costs


def write_predictions(
    workspace: RunContext, predictions: MemberPredictions, choice: Choice, split: str
) -> None:
    """Write what the generalist and every ensemble predict for a split, and who is asked."""
    folder = workspace.path(STAGE)
    joined = {name: predictions.joined(rule) for name, rule in choice.rules.items()}
    for name, made in {"generalist": predictions.generalist, **joined}.items():
        write_array(folder / f"{split}.{name}.npy", made.dense().float().numpy())
    write_array(folder / f"{split}.active.npy", predictions.active(choice.chosen).numpy())


def ensemble_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What the generalist and the ensembles predict for a split, by name."""
    costs = read_json(run.path(STAGE, "costs.json"))
    files = {name: run.path(STAGE, f"{split}.{name}.npy") for name in NAMES}
    return {
        name: ModelOutputs(name, read_predictions(file), **costs[name])
        for name, file in files.items()
    }


def _below(workspace: RunContext, folders: Sequence[Path]) -> list[str]:
    return [folder.relative_to(workspace.folder).as_posix() for folder in folders]
