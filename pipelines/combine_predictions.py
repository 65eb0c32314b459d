"""Generalist and specialists -> ``RUN/combine-predictions``: one distribution an example."""

from __future__ import annotations

from typing import TYPE_CHECKING

from specialists.files import write_json

from .checks import check_run
from .runs import Run
from .stage import Stage
from .terminal import log

if TYPE_CHECKING:
    from torch import Tensor

    from specialists.ensemble import Choice, MemberPredictions


def execute(run: Run) -> None:
    """Choose the combination on validation data; combine validation and test predictions."""
    from specialists.ensemble import KeptRows, choose_rule

    from .context import RunContext
    from .ensembles import ensemble_costs, open_ensemble, write_predictions

    workspace = RunContext.open(run.folder)
    settings, dataset = workspace.config.combination, workspace.dataset
    ensemble = open_ensemble(workspace)
    validation, labels = dataset.validation.inputs, dataset.validation.labels
    predictions = ensemble.member_predictions(validation)
    kept = None
    if dataset.gate is not None and settings.gate != "off":
        gate = dataset.gate
        kept = KeptRows(ensemble.member_predictions(gate.inputs), gate.labels, gate.units)
    needs_test = workspace.config.data.gate_fraction > 0
    choice = choose_rule(predictions, labels, settings, kept, needs_test=needs_test)
    write_json(workspace.path(STAGE.name, "choice.json"), choice.to_dict())
    write_predictions(workspace, predictions, choice, "validation")
    test_predictions = ensemble.member_predictions(dataset.test.inputs)
    write_predictions(workspace, test_predictions, choice, "test")
    costs = ensemble_costs(workspace, ensemble, test_predictions, choice)
    write_json(workspace.path(STAGE.name, "costs.json"), costs)
    if not choice.within_max_cost:
        log.info(
            f"{STAGE.name}: no rule costs at most {settings.max_cost:g} generalists; the "
            f"cheapest, which costs {choice.relative_cost:.1f}, stands in (smaller shares in "
            "combination.deferral, narrower specialists or fewer classes a cluster cost less)"
        )
    _announce(choice, predictions, labels)


def _announce(choice: Choice, predictions: MemberPredictions, labels: Tensor) -> None:
    """Who may answer, and what it brings on validation rows."""
    from specialists.ensemble import score

    admission, rule = choice.admission, choice.chosen
    if admission.method != "off":
        log.info(f"{STAGE.name}: {admission.in_words()}")
    if admission.outcome == "refused":
        return
    if rule.members is None:
        after = next(c.top1 for c in choice.candidates if c.rule is admission.chosen)
    else:
        after = score(predictions.joined(rule), labels)["top1"]
    change = f"{choice.generalist['top1']:.3f} -> {after:.3f}"
    log.info(f"{STAGE.name}: {rule.in_words()}; validation top-1 {change}")


STAGE = Stage(
    name="combine-predictions",
    sections=("seed", "device", "precision", "data", "generalist", "specialists", "combination"),
    inputs=(
        "prepare-data/dataset.json",
        "prepare-data/validation.*",
        "prepare-data/gate.*",
        "prepare-data/test.inputs*",
        "train-generalist/*",
        "cluster-classes/clusters.json",
        "cluster-classes/costs.json",
        "train-specialists/specialist-*/*",
        "train-specialists/independent-*/*",
    ),
    execute=execute,
    check=check_run,
)
