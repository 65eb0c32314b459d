"""Generalist and specialists -> ``RUN/combine-predictions``: one distribution an example."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from specialists.catalogue import ALL, GENERALIST, PAPER
from specialists.ensemble import (
    Choice,
    CombinationRule,
    Ensemble,
    KeptRows,
    MemberPredictions,
    choose_rule,
    score,
)
from specialists.files import read_json, write_array, write_json
from specialists.json_record import nan_if_null, null_if_unknown
from specialists.predictions import DensePredictions, ModelOutputs, read_rows
from specialists.training import TrainingCost

from .classifiers import Member
from .context import RunContext
from .pieces import expect_pieces
from .runs import Run
from .shared_specialists import load_shared_specialists, shared_tasks
from .terminal import log
from .train_generalist import chosen_training, initial_generalists
from .train_specialists import load_specialists, specialist_tasks
from .trunk_files import split_generalist

STAGE = "combine-predictions"


def execute(run: Run) -> None:
    """Choose the combination on validation data; combine validation and test predictions."""
    context = RunContext.open(run.folder)
    settings, dataset = context.config.combination, context.dataset
    expect_pieces(context, STAGE)
    ensemble = open_ensemble(context)
    validation, admission, kept = dataset.validation, dataset.admission, None
    labels = validation.labels
    predictions = ensemble.member_predictions(context.asked("validation"), validation.weights)
    if admission is not None and settings.admission != "off":
        kept = KeptRows(
            ensemble.member_predictions(context.asked("admission"), admission.weights),
            admission.labels,
            admission.units,
        )
    needs_test = context.config.data.admission_fraction > 0
    choice = choose_rule(
        predictions, labels, settings, kept, needs_test=needs_test, groups=validation.units
    )
    write_json(context.path(STAGE, "choice.json"), choice.to_dict())
    write_predictions(context, predictions, choice, "validation")
    test_predictions = ensemble.member_predictions(context.asked("test"))
    write_predictions(context, test_predictions, choice, "test")
    costs = ensemble_costs(context, ensemble, test_predictions, choice)
    write_json(context.path(STAGE, "costs.json"), costs)
    if not choice.within_max_cost:
        log.info(
            f"{STAGE}: no rule costs at most {settings.max_cost:g} generalists; the "
            f"cheapest, which costs {choice.relative_cost:.1f}, stands in (smaller shares in "
            "combination.deferral, narrower specialists or fewer classes a cluster cost less)"
        )
    _announce(choice, predictions, labels)


def _announce(choice: Choice, predictions: MemberPredictions, labels: Tensor) -> None:
    """Who may answer, and what it brings on validation rows."""
    admission, rule = choice.admission, choice.chosen
    if admission.method != "off":
        log.info(f"{STAGE}: {admission.in_words()}")
    if admission.outcome == "refused":
        return
    if rule.members is None:
        chosen = admission.chosen.to_dict()
        after = next(c.top1 for c in choice.candidates if c.rule.to_dict() == chosen)
    else:
        after = score(predictions.joined(rule), labels, predictions.weights)["top1"]
    log.info(f"{STAGE}: validation chose {rule.in_words()}")
    before = choice.generalist["top1"]
    log.info(f"{STAGE}: validation top-1 {after:.3f}, of the generalist alone {before:.3f}")


def open_ensemble(context: RunContext) -> Ensemble:
    """The ensemble of a run whose specialists are trained, with the paper's rule."""
    lower, upper = split_generalist(context)
    calibration = read_json(context.path("train-generalist", "calibration.json"))
    specialists = load_specialists(context, upper)
    for specialist in specialists:
        specialist.network.to(context.device)
    temperature = float(calibration["temperature"])
    shared = load_shared_specialists(context)
    return Ensemble(upper, specialists, temperature=temperature, lower=lower, shared=shared)


def chosen_rule(context: RunContext) -> CombinationRule:
    """The rule of `ensemble`, with the specialists that may answer."""
    return CombinationRule.from_dict(read_json(context.path(STAGE, "choice.json"))["chosen"])


def ensemble_costs(
    context: RunContext, ensemble: Ensemble, predictions: MemberPredictions, choice: Choice
) -> dict[str, dict[str, object]]:
    """What each ensemble takes: all its specialists are trained, whoever may be asked."""
    trained = read_json(context.path("train-generalist", "result.json"))
    clusters = read_json(context.path("cluster-classes", "costs.json"))
    independents = [task.folder for task in initial_generalists(context)]
    known = null_if_unknown(predictions.generalist_flops) or 0.0  # asked elsewhere, if at all
    soft_targets = len(context.dataset.train) * known
    generalist = TrainingCost.from_dict(trained)
    further = TrainingCost.from_dict(clusters) + TrainingCost(flops=soft_targets)
    further = sum((Member(context, folder).cost for folder in independents), further)
    shared = [] if ensemble.shared is None else ensemble.shared.specialists
    further = sum((member.cost for member in (*ensemble.specialists, *shared)), further)
    base = chosen_training(context)
    start = [] if base is None else [context.below(base)]
    tasks = (*specialist_tasks(context), *shared_tasks(context))
    trained_for_it = [*independents, *(task.folder for task in tasks)]
    trainings = [*start, *clusters["trainings"], *map(context.below, trained_for_it)]
    of_all = sum(candidate.rule.n is None for candidate in choice.candidates)
    trials = {PAPER: 1, ALL: of_all}
    costs: dict[str, dict[str, object]] = {
        GENERALIST: {
            "parameters": trained["parameters"],
            "inference_flops": null_if_unknown(predictions.generalist_flops),
            **generalist.to_dict(),
            "tuning_trials": len(context.config.generalist.widths or (0,)),
            "trainings": start,
        }
    }
    for name, rule in choice.rules.items():
        costs[name] = {
            "parameters": replace(ensemble, rule=rule).parameters,
            "inference_flops": null_if_unknown(predictions.flops(rule)),
            **(generalist + further).to_dict(),
            "tuning_trials": trials.get(name, len(choice.candidates)),
            "trainings": trainings,
        }
    return costs


def write_predictions(
    context: RunContext, predictions: MemberPredictions, choice: Choice, split: str
) -> None:
    """Write what the generalist and every ensemble predict for a split, and who is asked."""
    folder = context.path(STAGE)
    log_probs = predictions.generalist.dense()
    write_array(folder / f"{split}.{GENERALIST}.npy", log_probs.numpy())
    for name, rule in choice.rules.items():
        log_probs = predictions.joined(rule).dense().float()
        write_array(folder / f"{split}.{name}.npy", log_probs.numpy())
    write_array(folder / f"{split}.active.npy", predictions.active(choice.chosen).numpy())


def ensemble_outputs(run: Run, split: str) -> dict[str, ModelOutputs]:
    """What the generalist and the ensembles predict for a split, by name."""
    costs = read_json(run.path(STAGE, "costs.json"))
    files = {name: run.path(STAGE, f"{split}.{name}.npy") for name in costs}
    return {
        name: ModelOutputs(
            name,
            DensePredictions(read_rows(file)),
            **{k: nan_if_null(v) for k, v in costs[name].items()},
        )
        for name, file in files.items()
    }
