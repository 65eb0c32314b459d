"""Each split serves what it is there for, told by splits of other sizes and opposite labels."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import small_run
import torch

from pipelines import stages
from pipelines.baselines import baseline_tasks
from pipelines.combine_predictions import open_ensemble
from pipelines.context import RunContext
from specialists.baselines import Budget
from specialists.calibration import fit_calibration, fit_temperature
from specialists.datasets import load_dataset
from specialists.datasets.assembly import take
from specialists.datasets.base import Dataset
from specialists.ensemble import AdmissionDecision
from specialists.ensemble.admission import NO_GAIN, log_likelihood_gain, specialist_gains
from specialists.ensemble.decision import restricted
from specialists.files import read_json
from specialists.networks import load_network
from specialists.predictions import predict_outputs
from specialists.specialist.sampling import subset_labels
from specialists.training import TrainingCost, ValidationLoss


def with_wrong_gate_labels(config, seed) -> Dataset:
    """45 admission rows in 23 groups, with the label of a neighbour in their family of three."""
    dataset = load_dataset(config, seed)
    assert dataset.admission is not None
    admission = take(dataset.admission, np.arange(45))
    wrong = admission.labels // 3 * 3 + (admission.labels + 1) % 3
    return replace(
        dataset, admission=replace(admission, labels=wrong, groups=torch.arange(45) // 2)
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> RunContext:
    run = small_run.make_run(tmp_path_factory.mktemp("roles") / "run")
    with pytest.MonkeyPatch.context() as patch, run.lock():
        patch.setattr("pipelines.prepare_data.load_dataset", with_wrong_gate_labels)
        stages.run_stages(run, "combine-predictions")
    return RunContext.open(run.folder)


def test_validation_rows_alone_choose_the_epoch(workspace):
    validation, admission = workspace.dataset.validation, workspace.dataset.admission
    folder = workspace.path("train-generalist", "units", "width-12")
    network, result = load_network(folder)[0], read_json(folder / "result.json")
    loss, top1 = ValidationLoss(validation.inputs, validation.labels)(network)
    assert (result["loss"], result["top1"]) == (pytest.approx(loss), pytest.approx(top1))
    assert ValidationLoss(admission.inputs, admission.labels)(network)[0] > 1.5 * loss


def test_all_validation_rows_set_the_generalists_temperature(workspace):
    validation, admission = workspace.dataset.validation, workspace.dataset.admission
    outputs = predict_outputs(
        load_network(workspace.path("train-generalist"))[0], validation.inputs
    )
    unit = workspace.path("train-generalist", "units", "width-12", "result.json")
    for file in (workspace.path("train-generalist", "calibration.json"), unit):
        expected = fit_temperature(outputs, validation.labels)
        assert read_json(file)["temperature"] == pytest.approx(expected, rel=1e-3)
    for half in (slice(None, None, 2), slice(1, None, 2), slice(30), slice(30, None)):
        other = fit_temperature(outputs[half], validation.labels[half])
        assert abs(other / expected - 1) > 0.01
    assert fit_temperature(outputs[:45], admission.labels) > 1.5 * expected


def test_all_validation_rows_calibrate_a_specialist_from_the_correction_of_its_shares(workspace):
    dataset, ensemble = workspace.dataset, open_ensemble(workspace)
    features = ensemble.features(dataset.validation.inputs)
    share = workspace.config.specialists.subset_share
    for m, specialist in enumerate(ensemble.specialists):
        natural = float(torch.isin(dataset.train.labels, specialist.subset).double().mean())
        correction = math.log((1 - natural) / natural * share / (1 - share))
        labels = subset_labels(dataset.validation.labels, specialist.subset, dataset.n_classes)
        outputs = predict_outputs(specialist.network, features)
        expected = fit_calibration(outputs, labels, correction).to_dict()
        found = read_json(
            workspace.path("train-specialists", f"specialist-{m:03d}", "calibration.json")
        )
        assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert abs(correction) > 0.3
        half = fit_calibration(outputs[::2], labels[::2], correction)
        assert half.to_dict() != pytest.approx(expected, rel=2e-2, abs=2e-2)


def test_validation_rows_choose_who_is_tested_and_gate_rows_alone_test(workspace):
    dataset, ensemble = workspace.dataset, open_ensemble(workspace)
    choice = read_json(workspace.path("combine-predictions", "choice.json"))
    admission: Any = AdmissionDecision.from_dict(choice["admission"])
    rule = admission.chosen
    known, kept = (
        ensemble.member_predictions(split.inputs)
        for split in (dataset.validation, dataset.admission)
    )
    for entry, seen, new in zip(
        admission.specialists,
        specialist_gains(known, dataset.validation.labels, rule),
        specialist_gains(kept, dataset.admission.labels, rule),
        strict=True,
    ):
        assert (entry.validation_rows, entry.n_rows) == (len(seen), len(new))
        assert entry.validation_gain == pytest.approx(float(seen.mean()))
        assert entry.mean_gain == pytest.approx(float(new.mean()))
    left_out = [entry for entry in admission.specialists if entry.why_not == NO_GAIN]
    assert all(entry.validation_gain <= 0 for entry in left_out)
    members = [m for m in range(3) if m not in [entry.specialist for entry in left_out]]
    joined = kept.joined(restricted(rule, members, 3))
    whole = log_likelihood_gain(joined, kept.generalist, dataset.admission.labels)
    assert admission.whole.mean_gain == pytest.approx(float(whole.mean()))
    assert (admission.n_rows, admission.n_groups, admission.outcome) == (45, 23, "refused")
    assert float(whole.mean()) < 0 < max(e.validation_gain for e in admission.specialists)


def test_rivals_train_on_what_the_ensemble_was_trained_on(workspace):
    budget = Budget(TrainingCost(5, 1000.0), TrainingCost(9999, 700.0), 4e3, 2e3, 2.0)
    tasks = baseline_tasks(workspace, budget)
    flops = {name: [task.flops for task in own] for name, own in tasks.items()}
    assert flops["generalist_wide"] == [1700, 850, 425]
    assert flops["generalist_continued"] == [700]
    assert flops["generalist_ensemble"] == [None]
    for name, group in tasks.items():
        patience = workspace.config.generalist.patience
        expected = patience if name == "generalist_ensemble" else 10**6
        assert {task.recipe.patience for task in group} == {expected}
    budget = Budget(TrainingCost(5, 1000.0), TrainingCost(9999, 2700.0), 4e3, 2e3, 2.0)
    averaged = baseline_tasks(workspace, budget)["generalist_ensemble"]
    assert len({task.seed for task in averaged}) == len(averaged) == 3
