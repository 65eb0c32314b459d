"""Generalist and specialists -> ``RUN/combine-predictions``: one distribution an example."""

from __future__ import annotations

from torch import Tensor

from specialists.ensemble import Choice, KeptRows, MemberPredictions, choose_rule, score
from specialists.runs import write_json

from .context import RunContext
from .ensembles import STAGE, ensemble_costs, open_ensemble, write_predictions
from .runs import Run
from .terminal import log


def execute(run: Run) -> None:
    """Choose the combination on validation data; combine validation and test predictions."""
    context = RunContext.open(run.folder)
    settings, dataset = context.config.combination, context.dataset
    ensemble = open_ensemble(context)
    labels, gate, kept = dataset.validation.labels, dataset.gate, None
    predictions = ensemble.member_predictions(dataset.validation.inputs)
    if gate is not None and settings.gate != "off":
        kept = KeptRows(ensemble.member_predictions(gate.inputs), gate.labels, gate.units)
    needs_test = context.config.data.gate_fraction > 0
    choice = choose_rule(predictions, labels, settings, kept, needs_test=needs_test)
    write_json(context.path(STAGE, "choice.json"), choice.to_dict())
    write_predictions(context, predictions, choice, "validation")
    test_predictions = ensemble.member_predictions(dataset.test.inputs)
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
        after = next(c.top1 for c in choice.candidates if c.rule is admission.chosen)
    else:
        after = score(predictions.joined(rule), labels)["top1"]
    change = f"{choice.generalist['top1']:.3f} -> {after:.3f}"
    log.info(f"{STAGE}: {rule.in_words()}; validation top-1 {change}")
