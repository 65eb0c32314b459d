"""The whole pipeline on twelve confusable classes: artifacts, order, resumption, every option."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
import small_run
import torch
from typer.testing import CliRunner

import specialists
from pipelines import stages
from pipelines.__main__ import app
from pipelines.baselines import baseline_outputs, baseline_tasks, budget_of
from pipelines.classifiers import train_task
from pipelines.combine_predictions import open_ensemble
from pipelines.context import RunContext
from pipelines.runs import Run
from pipelines.timed_models import TEMPERATURE, average_of, timed_models
from pipelines.train_generalist import cross_fitted_generalists, when_best
from pipelines.write_report import closing_lines
from specialists.baselines import AveragingRule, averaged, head_share
from specialists.catalogue import BASELINES, DEFERRED, SAME_INFERENCE
from specialists.clustering import ClassClusters
from specialists.config import Config
from specialists.cross_fitting import without_fold
from specialists.errors import InputError
from specialists.evaluation import InferenceTimes
from specialists.files import artifacts, read_array, read_json, read_tensors, write_json
from specialists.networks import load_network
from specialists.predictions import (
    DensePredictions,
    StoredPredictions,
    network_predictions,
    read_rows,
)

pytestmark = pytest.mark.xdist_group("small_run")

ENSEMBLES = ("generalist", "ensemble", "ensemble_paper", "ensemble_all")
STUDENTS = ("student", "student_hard_labels")
ARTIFACTS = [
    "config.toml",
    "evaluation.json",
    "report.html",
    *(f"{stage.name}/manifest.json" for stage in stages.STAGES),
    "prepare-data/dataset.json",
    *(f"prepare-data/{split}.inputs.npy" for split in ("train", "validation", "admission", "test")),
    "prepare-data/test.labels.npy",
    *(f"train-generalist/{name}" for name in ("model.json", "metrics.jsonl", "widths.json")),
    *(f"train-generalist/{name}" for name in ("weights.safetensors", "calibration.json")),
    "train-generalist/validation.log_probs.npy",
    *(f"cluster-classes/{name}" for name in ("clusters.json", "clusters.txt", "covariance.npy")),
    "cluster-classes/costs.json",
    *(
        f"train-specialists/specialist-{i:03d}/{name}"
        for i in range(3)
        for name in ("model.json", "weights.safetensors", "metrics.jsonl", "calibration.json")
    ),
    "combine-predictions/choice.json",
    "combine-predictions/costs.json",
    *(f"combine-predictions/{s}.{name}.npy" for s in ("validation", "test") for name in ENSEMBLES),
    *(f"combine-predictions/{split}.active.npy" for split in ("validation", "test")),
    "distill-student/targets/manifest.json",
    "distill-student/trials.json",
    *(f"distill-student/{name}/weights.safetensors" for name in STUDENTS),
    "evaluate-models/details.json",
    *(
        f"evaluate-models/baselines/{name}/weights.safetensors"
        for name in ("generalist_continued", "generalist_wide-2")
    ),
    "evaluate-models/baselines.json",
    "evaluate-models/trainings.json",
]


@pytest.fixture(scope="module", autouse=True)
def no_sync():
    """Syncing guards against power cuts, and takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifacts, "sync", lambda path: None)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Run:
    run = small_run.make_run(tmp_path_factory.mktemp("small") / "run")
    stages.run_stages(run)
    return run


@pytest.fixture
def again(done, tmp_path):
    """Go on with a copy of the run under other settings, up to a stage."""

    def go_on(until: str, *overrides: str, jobs: int | None = None) -> Run:
        run = small_run.changed_copy(done, tmp_path / "run", *overrides, jobs=jobs)
        stages.run_stages(run, until)
        return run

    return go_on


def new_inputs() -> np.ndarray:
    """The inputs of the test split again."""
    return small_run.features(10, 4)[0]


@pytest.mark.parametrize("name", ARTIFACTS)
def test_an_artifact_lies_where_it_should(done, name):
    assert (done.folder / name).stat().st_size > 0


def test_the_evaluation_has_the_keys_and_names_of_the_design(done):
    evaluation = read_json(done.folder / "evaluation.json")
    assert set(evaluation) == {
        *("dataset", "seed", "n_classes", "n_test", "n_groups", "models", "differences"),
        *("retention", "n_specialists", "n_answering", "conditional", "coverage"),
    }
    assert set(evaluation["models"]) == {*ENSEMBLES, *BASELINES, *STUDENTS}
    for model in evaluation["models"].values():
        assert set(model) == {
            *("top1", "top1_interval", "top1_any_valid", "top1_macro", "top5", "nll", "ece"),
            *("agreement", "parameters", "inference_flops", "training_examples"),
            *("training_flops", "tuning_trials"),
        }
    assert {"a", "b", "metric", "value", "interval", "p"} <= set(evaluation["differences"][0])
    assert set(evaluation["conditional"]) >= {"generalist", "ensemble"}
    assert (evaluation["n_classes"], evaluation["n_test"], evaluation["seed"]) == (12, 120, 5)


def test_the_generalist_learns_and_the_controls_keep_to_their_budget(done):
    models = read_json(done.folder / "evaluation.json")["models"]
    generalist, ensemble = models["generalist"], models["ensemble"]
    assert generalist["top1"] > 0.4
    assert generalist["training_examples"] == 3 * 12 * 40
    wide = models["generalist_wide"]
    assert 0.9 * ensemble["inference_flops"] <= wide["inference_flops"]
    assert wide["inference_flops"] <= ensemble["inference_flops"]
    whole = pytest.approx(ensemble["training_flops"], rel=0.01)
    assert models["generalist_continued"]["training_flops"] == whole
    schedules = read_json(done.path("evaluate-models", "baselines.json"))["generalist_wide"]
    parts = [candidate["training_flops"] for candidate in schedules["candidates"]]
    assert [parts[0], 2 * parts[1], 4 * parts[2]] == [whole] * 3
    assert wide["training_flops"] == parts[schedules["chosen"]]
    n_generalists = -(-ensemble["training_flops"] // generalist["training_flops"])
    assert models["generalist_ensemble"]["parameters"] == n_generalists * generalist["parameters"]
    same, base = (models[name]["inference_flops"] for name in (SAME_INFERENCE, "generalist"))
    assert same % base == 0
    assert same - base < ensemble["inference_flops"] <= same


def test_fewer_generalists_are_averaged_where_inference_pays_for_fewer(done, tmp_path):
    run = small_run.changed_copy(done, tmp_path / "run")
    costs = read_json(run.path("combine-predictions", "costs.json"))
    costs["ensemble"]["inference_flops"] = 1.2 * costs["generalist"]["inference_flops"]
    write_json(run.path("combine-predictions", "costs.json"), costs)
    found = baseline_outputs(run, "test")
    two, whole = found[SAME_INFERENCE], found["generalist_ensemble"]
    assert (2 * whole.inference_flops, 2 * whole.parameters) == (
        3 * two.inference_flops,
        3 * two.parameters,
    )
    assert 2 * whole.training_examples == 3 * two.training_examples
    rules = read_json(run.path("evaluate-models", "baselines.json"))
    for name, output in found.items():
        if name.startswith("generalist_ensemble"):
            rule = rules[name]["chosen"]
            members = [predicted(run, i) for i in range(rule["n_members"])]
            expected = np.exp(reference.averaged(members, **rule))
            np.testing.assert_allclose(output.predictions.dense().exp(), expected, atol=1e-5)
            assert output.tuning_trials == len(rules[name]["candidates"])
    assert not np.allclose(whole.predictions.dense(), two.predictions.dense(), atol=1e-3)


def predicted(run: Run, i: int) -> np.ndarray:
    """What the i-th of the averaged generalists says of the test rows, in float64."""
    own = run.path("evaluate-models", "baselines", f"generalist_ensemble-{i}")
    network, _, about = load_network(own if i else run.path("train-generalist"))
    inputs = RunContext.open(run.folder).dataset.test.inputs
    return network_predictions(network, inputs, about["temperature"]).dense().double().numpy()


def test_deferring_generalists_keep_to_the_ensembles_inference_on_validation(done):
    rule = AveragingRule(
        **read_json(done.path("evaluate-models", "baselines.json"))[DEFERRED]["chosen"]
    )
    network = load_network(done.path("train-generalist"))[0]
    share = head_share(network, 12, RunContext.open(done.folder).dataset.test.inputs)
    assert share == (12 * 12) / (6 * 12 + 12 * 12)
    candidates = read_json(done.path("evaluate-models", "baselines.json"))[DEFERRED]["candidates"]
    assert {candidate["shortlist"] for candidate in candidates} == {0, 8}
    first, test = (
        DensePredictions(read_rows(done.path("combine-predictions", f"{split}.generalist.npy")))
        for split in ("validation", "test")
    )
    limit = read_json(done.path("combine-predictions", "choice.json"))["relative_cost"]
    assert 1 <= rule.relative_cost(first, share) <= limit + 1e-6
    models = read_json(done.folder / "evaluation.json")["models"]
    realised = models[DEFERRED]["inference_flops"] / models["generalist"]["inference_flops"]
    assert realised == pytest.approx(rule.relative_cost(test, share), rel=1e-6)


def test_the_start_of_training_on_may_stay_the_best(done, tmp_path):
    context = RunContext.open(done.folder)
    (task,) = baseline_tasks(context, budget_of(context))["generalist_continued"]
    wild = task.recipe.model_copy(update={"learning_rate": 3.0})
    train_task(dataclasses.replace(task, folder=tmp_path / "wild", recipe=wild))
    assert read_json(tmp_path / "wild" / "result.json")["best_epoch"] == 0
    start, found = (
        load_network(folder)[0] for folder in (done.path("train-generalist"), tmp_path / "wild")
    )
    assert all(torch.equal(v, found.state_dict()[k]) for k, v in start.state_dict().items())


def test_validation_chooses_the_schedule_of_the_wide_generalist(done):
    schedules = read_json(done.path("evaluate-models", "baselines.json"))["generalist_wide"]
    losses = [candidate["nll"] for candidate in schedules["candidates"]]
    assert schedules["chosen"] == losses.index(min(losses))
    assert len(losses) == 3
    folder = done.path("evaluate-models", "baselines", f"generalist_wide-{schedules['chosen']}")
    model = read_json(done.folder / "evaluation.json")["models"]["generalist_wide"]
    assert model["training_flops"] == read_json(folder / "result.json")["training_flops"]
    assert model["tuning_trials"] == 3
    network, _, about = load_network(folder)
    validation = RunContext.open(done.folder).dataset.validation
    said = network_predictions(network, validation.inputs, about["temperature"]).dense()
    assert min(losses) == pytest.approx(-float(said.gather(1, validation.labels[:, None]).mean()))


def test_everything_is_done_and_stays_as_it_is(done, capsys):
    assert {row.state for row in stages.status(done)} == {"done"}
    before = small_run.all_but_times(done.folder)
    stages.run_stages(done)
    assert capsys.readouterr().out.count("done already, skipped") == len(stages.STAGES)
    assert small_run.all_but_times(done.folder) == before


@pytest.mark.parametrize("model", ["student", "ensemble", "generalist"])
def test_the_command_predicts_with_every_model(done, tmp_path, model):
    np.savez(tmp_path / "new.npz", x_train=new_inputs())
    arguments = ["predict", str(done.folder), str(tmp_path / "new.npz"), "--model", model]
    result = CliRunner().invoke(app, [*arguments, "--top", "2", "--out", str(tmp_path / "out.tsv")])
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()]
    assert lines[0] == ["row", "input", "rank", "class", "probability"]
    assert len(lines) == 1 + 2 * 120
    probs = specialists.load(done.folder, model).predict_proba(new_inputs())
    best = [line[3] for line in lines[1:] if line[2] == "1"]
    assert best == [small_run.NAMES[c] for c in probs.argmax(1)]
    assert float(lines[1][4]) == pytest.approx(probs[0].max(), abs=1e-6)


@pytest.mark.parametrize("model", ["ensemble", "generalist"])
def test_a_loaded_model_says_what_was_evaluated(done, model):
    predictor = specialists.load(done.folder, model)
    stored = read_array(done.path("combine-predictions", f"test.{model}.npy"))
    found = predictor.predict_proba(new_inputs())
    assert predictor.class_names == small_run.NAMES
    np.testing.assert_allclose(found, np.exp(stored), atol=1e-6)


def test_a_learned_combination_predicts_the_same_everywhere(again):
    learned = ("combination.rules=['learned']", "combination.weights=", "combination.n=[2]")
    run = again("write-report", *learned)
    choice = read_json(run.path("combine-predictions", "choice.json"))
    assert {candidate["rule"] for candidate in choice["candidates"]} == {"learned"}
    assert len(choice["chosen"]["learned"]["weights"]) == 3
    assert choice["rules"]["ensemble_paper"] == {"rule": "kl", "n": 1, "weight": 1.0}
    stored = read_array(run.path("combine-predictions", "test.ensemble.npy"))
    found = specialists.load(run.folder, "ensemble").predict_proba(new_inputs())
    np.testing.assert_allclose(found, np.exp(stored), atol=1e-6)
    train = RunContext.open(run.folder).dataset.train.inputs
    targets = StoredPredictions(run.path("distill-student", "targets"))
    said = specialists.load(run.folder, "ensemble").predict_encoded(train)
    np.testing.assert_allclose(targets[: len(train)].dense().float().exp(), said, atol=2e-3)
    assert "learned weights and temperatures" in run.folder.joinpath("report.html").read_text()


def test_the_gate_s_rows_are_no_other_split_s_and_are_counted(done):
    splits = ("train", "validation", "admission", "test")
    inputs = [read_array(done.path("prepare-data", f"{split}.inputs.npy")) for split in splits]
    rows = [{row.tobytes() for row in split} for split in inputs]
    assert [len(split) for split in rows] == [480, 60, 60, 120]
    assert len(set.union(*rows)) == 720
    about = read_json(done.path("prepare-data", "dataset.json"))
    assert about["rows"] == {"train": 480, "validation": 60, "admission": 60, "test": 120}
    admission = read_json(done.path("combine-predictions", "choice.json"))["admission"]
    assert (admission["method"], admission["alpha"], admission["n_rows"]) == ("whole", 0.05, 60)
    assert admission["outcome"] in ("admitted", "refused")
    assert len(admission["specialists"]) == 3
    assert "rows kept for this test" in (done.folder / "report.html").read_text()


def test_a_sure_generalist_answers_alone_everywhere(again):
    settings = ("deferral=[0.3]", "max_cost=1.6", "admission=off")
    run = again("evaluate-models", *(f"combination.{setting}" for setting in settings))
    choice = read_json(run.path("combine-predictions", "choice.json"))
    limit = choice["chosen"]["confidence"]
    shares = []
    for split in ("validation", "test"):
        files = [f"{split}.{name}.npy" for name in ("generalist", "ensemble", "active")]
        base, found, active = (read_array(run.path("combine-predictions", f)) for f in files)
        sure = np.exp(base.max(1)) > limit
        assert 0 < sure.sum() < len(sure)
        assert not active[sure].any()
        assert active[~sure].any()
        np.testing.assert_allclose(found[sure], base[sure], atol=1e-5)
        assert not np.allclose(found[~sure], base[~sure], atol=1e-3)
        shares.append(active.any(1).mean())
    assert choice["asked"] == pytest.approx(shares[0])
    costs = read_json(run.path("combine-predictions", "costs.json"))
    models = read_json(run.folder / "evaluation.json")["models"]
    flops = {name: costs[name]["inference_flops"] for name in ("generalist", "ensemble")}
    assert models["ensemble"]["inference_flops"] == flops["ensemble"]
    assert flops["generalist"] < flops["ensemble"] < costs["ensemble_paper"]["inference_flops"]
    stored = read_array(run.path("combine-predictions", "test.ensemble.npy"))
    predicted = specialists.load(run.folder, "ensemble").predict_proba(new_inputs())
    np.testing.assert_allclose(predicted, np.exp(stored), atol=1e-5)


def test_specialists_that_do_not_pass_leave_the_generalist_as_it_is(again, monkeypatch, capsys):
    monkeypatch.setattr("specialists.ensemble.admission.ALPHA", -1.0)
    run = again("write-report", "combination.select_by=top1")
    said = capsys.readouterr().out
    assert "combine-predictions: the ensemble answers like its generalist: " in said
    choice = read_json(run.path("combine-predictions", "choice.json"))
    assert choice["chosen"]["members"] == []
    assert choice["admission"]["outcome"] == "refused"
    for split in ("validation", "test"):
        files = [f"{split}.{name}.npy" for name in ("generalist", "ensemble")]
        base, found = (read_array(run.path("combine-predictions", name)) for name in files)
        assert np.array_equal(base, found)
        assert not read_array(run.path("combine-predictions", f"{split}.active.npy")).any()
    predicted = [specialists.load(run.folder, m) for m in ("generalist", "ensemble")]
    base, found = (predictor.predict_proba(new_inputs()) for predictor in predicted)
    assert np.array_equal(base, found)
    _check_that_the_ensemble_is_evaluated_as_its_generalist(run)


def _check_that_the_ensemble_is_evaluated_as_its_generalist(run: Run) -> None:
    evaluation = read_json(run.folder / "evaluation.json")
    models = evaluation["models"]
    generalist, ensemble = models["generalist"], models["ensemble"]
    training = ensemble["training_flops"]
    for cost in ("training_examples", "training_flops", "tuning_trials"):
        assert ensemble.pop(cost) > generalist.pop(cost)
    assert ensemble == generalist
    assert ensemble["agreement"] == 1.0
    assert models["generalist_wide"]["inference_flops"] == ensemble["inference_flops"]
    assert models["generalist_wide"]["training_flops"] <= 1.01 * training
    assert models[DEFERRED]["inference_flops"] == generalist["inference_flops"]
    assert models["ensemble_paper"]["inference_flops"] > ensemble["inference_flops"]
    pairs = [d for d in evaluation["differences"] if (d["a"], d["b"]) == ENSEMBLES[1::-1]]
    assert [(d["value"], d["interval"], d["p"]) for d in pairs] == [(0.0, [0.0, 0.0], 1.0)] * 2
    assert (evaluation["retention"] is None) == ("retention_reason" in evaluation)
    details = read_json(run.path("evaluate-models", "details.json"))
    assert details["fixed"]["n"] == details["broken"]["n"] == 0
    assert (evaluation["n_specialists"], evaluation["n_answering"]) == (3, 0)
    assert evaluation["coverage"] == details["per_cluster"] == []
    page = (run.folder / "report.html").read_text()
    assert "Specialists stay out: held-out rows do not show that they help." in page
    assert page.count("Specialists were refused: on 60 rows kept for this test") == 1
    assert "pairs" not in details
    assert not {"#apart", "#gains", "#examples"} & set(re.findall(r'href="([^"]*)"', page))
    (line,) = (line for line in closing_lines(run) if line.startswith("  use specialists"))
    assert "stay out" in line


def test_each_specialist_can_be_tested_alone(again):
    run = again("combine-predictions", "combination.admission=each")
    admission = read_json(run.path("combine-predictions", "choice.json"))["admission"]
    assert admission["method"] == "each"
    for entry in admission["specialists"]:
        passes = entry["corrected_p"] is not None and entry["corrected_p"] <= 0.05
        assert passes or not entry["admitted"]
        assert entry["admitted"] == (entry["why_not"] is None)


@pytest.mark.parametrize("override", ["combination.admission=off", "data.admission_fraction=0"])
def test_without_a_gate_whoever_validation_chose_answers(again, override, capsys):
    run = again("write-report", override)
    choice = read_json(run.path("combine-predictions", "choice.json"))
    assert choice["admission"]["outcome"] == "not tested"
    assert "members" not in choice["chosen"]
    assert choice["chosen"] == choice["admission"]["rule"] == choice["rules"]["ensemble"]
    assert run.path("prepare-data", "admission.labels.npy").exists() == ("off" in override)
    told = "no rows are to be kept for the test" in capsys.readouterr().out
    assert told == (override == "data.admission_fraction=0")
    assert "was not tested before they entered" in (run.folder / "report.html").read_text()


def test_the_students_folder_works_alone_when_copied_elsewhere(done, tmp_path):
    expected = specialists.load(done.folder).predict_proba(new_inputs())
    alone = shutil.copytree(done.path("distill-student", "student"), tmp_path / "alone")
    assert all(str(done.folder.parent) not in file.read_text() for file in alone.glob("*.json*"))
    np.testing.assert_array_equal(specialists.load(alone).predict_proba(new_inputs()), expected)


def test_shuffled_test_labels_change_nothing_before_the_evaluation(done, tmp_path):
    data = done.folder.parent / "data"
    kept = data.rename(tmp_path / "kept")
    try:
        small_run.write_arrays(data, shuffled_test_labels=True)
        run = Run(tmp_path / "run")
        run.folder.mkdir()
        shutil.copyfile(done.config_file, run.config_file)
        stages.run_stages(run, "distill-student")
    finally:
        shutil.rmtree(data)
        kept.rename(data)
    found, expected = (small_run.all_but_times(folder) for folder in (run.folder, done.folder))
    different = {name for name in found if found[name] != expected[name]}
    assert different == {"prepare-data/test.labels.npy", "prepare-data/manifest.json"}
    assert {name.split("/")[0] for name in expected.keys() - found.keys()} == {
        *("evaluate-models", "write-report", "evaluation.json", "report.html")
    }


@pytest.mark.slow
def test_a_run_killed_at_any_of_ten_moments_ends_the_same_when_it_is_repeated(tmp_path):
    script = Path(small_run.__file__)
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(tmp_path), "10"],
        env={**os.environ, "PYTHONPATH": str(script.parents[1])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.splitlines()[-1].startswith("10 moments of")


@pytest.mark.slow
def test_no_weight_depends_on_how_many_are_trained_at_a_time(done, tmp_path):
    run = small_run.changed_copy(done, tmp_path / "run", jobs=2)
    shutil.rmtree(run.path("train-specialists"))
    stages.run_stages(run, "train-specialists")
    found, expected = (small_run.all_but_times(r.path("train-specialists")) for r in (run, done))
    assert found == expected


def test_a_killed_specialist_is_trained_again_alone(done, tmp_path):
    run = small_run.changed_copy(done, tmp_path / "run")
    lost, kept = (run.path("train-specialists", f"specialist-00{i}") for i in (1, 2))
    (lost / "weights.safetensors").unlink()
    written = (kept / "weights.safetensors").stat().st_mtime_ns
    stages.run_stages(run, "train-specialists")
    assert (kept / "weights.safetensors").stat().st_mtime_ns == written
    assert small_run.all_but_times(lost) == small_run.all_but_times(
        done.path("train-specialists", lost.name)
    )


def test_an_ensemble_that_lacks_a_specialist_predicts_nothing(done, tmp_path):
    run = small_run.changed_copy(done, tmp_path / "run")
    shutil.rmtree(run.path("train-specialists", "specialist-001"))
    with pytest.raises(InputError, match="specialist-001"):
        specialists.load(run.folder, "ensemble")


def test_a_single_model_s_folder_gives_no_ensemble(done):
    with pytest.raises(InputError, match="single model"):
        specialists.load(done.path("distill-student", "student"), "ensemble")


@pytest.mark.parametrize("override", ["precision=bfloat16", "specialists.epochs=1", "seed=6"])
def test_what_a_specialist_depends_on_trains_it_again(again, done, override):
    run = again("train-specialists", override)
    name = ("specialist-000", "weights.safetensors")
    before, after = (read_tensors(r.path("train-specialists", *name)) for r in (done, run))
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_the_clusters_confusions_are_told_beside_those_of_random_clusters(again, capsys):
    run = again("cluster-classes", "clusters.max_ratio=1.0")
    clusters = ClassClusters.from_dict(read_json(run.path("cluster-classes", "clusters.json")))
    assert clusters.sizes == (4, 4, 4)
    told = (
        f"3 clusters of 4 to 4 classes hold {clusters.total_share:.1%} of the confusions; random "
    )
    share = 3 * 4 * 3 / (12 * 11)
    assert f"{told}clusters of the same sizes would hold {share:.1%}" in capsys.readouterr().out


def test_cross_fitted_predictions_come_from_generalists_that_never_saw_the_rows(again):
    run = again("cluster-classes", "clusters.predictions=cross-fitted")
    (predictions, rows, cost), trainings = cross_fitted_generalists(run)
    assert torch.equal(rows.sort().values, torch.arange(480))
    context = RunContext.open(run.folder)
    train = context.dataset.train
    for fold in range(2):
        others = torch.arange(1 - fold, 480, 2)
        assert torch.equal(without_fold(train, fold, 2).labels, train.labels[others])
        network, _, about = load_network(run.path("cluster-classes", "units", f"fold-{fold}"))
        with torch.no_grad():
            own = torch.arange(fold, 480, 2)
            expected = torch.log_softmax(network(train.inputs[own]) / about["temperature"], -1)
        torch.testing.assert_close(predictions[rows % 2 == fold].dense(), expected)
    assert cost.examples == 2 * 3 * len(train) // 2
    own = read_json(run.path("train-generalist", "result.json"))
    passes = own["training_flops"] + len(train) * own["inference_flops"]
    assert cost.flops == pytest.approx(passes, rel=0.01)
    assert trainings == [f"cluster-classes/units/fold-{fold}" for fold in range(2)]
    found = read_json(run.path("cluster-classes", "costs.json"))
    assert found == {**cost.to_dict(), "trainings": trainings}


def test_what_found_the_clusters_counts_in_what_rivals_may_train_on(again, done):
    run = again("combine-predictions", "clusters.predictions=cross-fitted")
    for found, extra in ((done, 0), (run, 3 * 480)):
        workspace = RunContext.open(found.folder)
        members = open_ensemble(workspace).specialists
        further = budget_of(workspace).further
        assert further.examples == sum(member.cost.examples for member in members) + extra
        own = read_json(found.path("train-generalist", "result.json"))
        flops = sum(member.cost.flops for member in members) + 480 * own["inference_flops"]
        flops += read_json(found.path("cluster-classes", "costs.json"))["training_flops"]
        assert further.flops == pytest.approx(flops)


def test_a_users_own_generalist_is_taken_as_it_is(again, done, tmp_path):
    theirs = shutil.copyfile(
        done.path("train-generalist", "weights.safetensors"), tmp_path / "mine.safetensors"
    )
    run = again("write-report", f"generalist.weights={theirs}", "data.standardize=true")
    before, after = (
        read_tensors(r.path("train-generalist", "weights.safetensors")) for r in (done, run)
    )
    assert all(torch.equal(before[key], after[key]) for key in before)
    said, said_again = (
        read_array(r.path("train-generalist", "validation.log_probs.npy")) for r in (done, run)
    )
    np.testing.assert_array_equal(said, said_again)
    assert not run.path("train-generalist", "widths.json").exists()
    models = read_json(run.folder / "evaluation.json")["models"]
    assert models["generalist"]["training_examples"] == 0
    assert set(models) == {*ENSEMBLES, *BASELINES, *STUDENTS}


def test_specialists_may_be_wider_than_their_generalist(again):
    run = again("combine-predictions", "specialists.width=20")
    weights = read_tensors(run.path("train-specialists", "specialist-000", "weights.safetensors"))
    assert weights["hidden1.weight"].shape == (20, small_run.DIM)
    assert open_ensemble(RunContext.open(run.folder)).specialists[0].network is not None


def test_subsets_may_overlap(again):
    run = again("combine-predictions", "clusters.overlap=2")
    clusters = ClassClusters.from_dict(read_json(run.path("cluster-classes", "clusters.json")))
    covering = torch.bincount(torch.cat([torch.as_tensor(s) for s in clusters.subsets]))
    assert int(covering.sum()) > 12
    assert int(covering.max()) > 1
    q = np.exp(read_array(run.path("combine-predictions", "test.ensemble_all.npy")))
    np.testing.assert_allclose(q.sum(1), 1, atol=1e-5)


def test_any_module_can_be_the_generalist_with_parts_of_it_frozen_in_specialists(again):
    run = again(
        "write-report",
        "generalist.factory=small_run:branched",
        "generalist.options={width = 9}",
        "generalist.width=",
        "generalist.dropout=",
        "specialists.freeze=['stem', 'norm']",
    )
    generalist = read_tensors(run.path("train-generalist", "weights.safetensors"))
    specialist = read_tensors(
        run.path("train-specialists", "specialist-000", "weights.safetensors")
    )
    for key in generalist:
        frozen = key.split(".")[0] in ("stem", "norm")
        same = generalist[key].shape == specialist[key].shape
        assert (same and torch.equal(generalist[key], specialist[key])) == frozen, key
    stored = read_array(run.path("combine-predictions", "test.ensemble.npy"))
    with pytest.raises(InputError, match=r"small_run:branched, called with .*9"):
        specialists.load(run.folder, "ensemble")
    predictor = specialists.load(run.folder, "ensemble", trust_code=True)
    np.testing.assert_allclose(predictor.predict_proba(new_inputs()), np.exp(stored), atol=1e-6)
    models = read_json(run.folder / "evaluation.json")["models"]
    assert {*ENSEMBLES, *BASELINES, *STUDENTS} - set(models) == {"generalist_wide"}


def test_a_frozen_trunk_is_computed_once_and_shared(again):
    run = again(
        "distill-student",
        "generalist.depth=2",
        "specialists.freeze=['hidden1']",
        "specialists.width=12",
        "combination.admission=off",
    )
    features = read_array(run.path("train-specialists", "trunk", "train.npy"))
    assert features.shape == (480, 12)
    weights = read_tensors(run.path("train-specialists", "specialist-000", "weights.safetensors"))
    assert "hidden1.weight" not in weights
    costs = read_json(run.path("combine-predictions", "costs.json"))
    upper = sum(
        value.numel()
        for i in range(3)
        for value in read_tensors(
            run.path("train-specialists", f"specialist-00{i}", "weights.safetensors")
        ).values()
    )
    assert costs["ensemble"]["parameters"] == costs["generalist"]["parameters"] + upper


def test_a_student_may_ask_its_teacher_about_every_batch(again, capsys):
    run = again("distill-student", "student.teacher=online", "student.epochs=4")
    assert "online changes nothing" in capsys.readouterr().out
    soft = [t for t in read_json(run.path("distill-student", "trials.json")) if t["temperature"]]
    assert [trial["teacher"] for trial in soft] == ["online"]
    assert soft[0]["validation_top1"] > 2 / 12


def test_a_student_learns_from_unlabelled_inputs_too(again, tmp_path):
    np.savez(tmp_path / "more.npz", x_train=small_run.features(5, 77)[0])
    more = f"student.unlabelled={tmp_path / 'more.npz'}"
    run = again("distill-student", "combination.deferral=[1.0]", more)
    targets = StoredPredictions(run.path("distill-student", "targets"))
    assert len(targets) == 480 + 60
    ensemble = specialists.load(run.folder, "ensemble")
    expected = ensemble.predict_proba(small_run.features(5, 77)[0])
    np.testing.assert_allclose(targets[480:540].dense().float().exp(), expected, atol=2e-3)
    seen = [read_json(run.path("distill-student", name, "result.json")) for name in STUDENTS]
    assert seen[0]["training_examples"] == seen[1]["training_examples"] == 2 * 480


def test_the_best_of_two_widths_is_the_generalist(done, tmp_path):
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    values = {
        **small_run.SETTINGS,
        "data": {"arrays": Config.from_toml(done.config_file).data.arrays},
    }
    values["generalist"] = {**values["generalist"], "width": None, "widths": [2, 16]}
    run.config_file.write_text(Config.from_dict(values).to_toml())
    stages.run_stages(run, "train-generalist")
    candidates = read_json(run.path("train-generalist", "widths.json"))
    assert [candidate["width"] for candidate in candidates] == [2, 16]
    assert [candidate["chosen"] for candidate in candidates] == [False, True]
    assert candidates[1]["validation_top1"] > candidates[0]["validation_top1"]
    assert load_network(run.path("train-generalist"))[1].width == 16


def test_every_model_of_a_run_is_timed_apart_from_its_results(done):
    folder = done.path("evaluate-models")
    times = InferenceTimes.from_dict(read_json(folder / "timing-inference.json"))
    evaluation = read_json(done.folder / "evaluation.json")
    assert set(times.models) == set(evaluation["models"])
    assert times.not_timed == {}
    assert (times.threads, times.n_rows) == (torch.get_num_threads(), evaluation["n_test"])
    for twice in (("generalist", "generalist_continued"), STUDENTS):
        assert times.models[twice[0]] == times.models[twice[1]]
    assert "timing-inference.json" not in read_json(folder / "manifest.json")["outputs"]


def test_what_is_timed_predicts_as_the_run_does(done):
    context = RunContext.open(done.folder)
    models, inputs = timed_models(context), context.dataset.test.inputs
    for name in ENSEMBLES:
        expected = read_array(done.path("combine-predictions", f"test.{name}.npy"))
        np.testing.assert_allclose(models[name](inputs).dense(), expected, atol=1e-5)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("confidence", [None, 0.5, 0.0])
def test_timed_averages_are_the_rule_s_of_equal_members(done, mean, confidence):
    """Later members have a temperature of their own."""
    context = RunContext.open(done.folder)
    network, rows = load_network(done.path("train-generalist"))[0], context.dataset.test.inputs
    seen = []
    network.register_forward_hook(lambda module, inputs, outputs: seen.append(len(outputs)))
    rule = AveragingRule(3, mean, 1.25, confidence)
    first, later = (network_predictions(network, rows, t) for t in (1.1, TEMPERATURE))
    expected = averaged([first, later, later], rule).dense()
    seen.clear()
    found = average_of(network, lambda inputs: network_predictions(network, inputs, 1.1), rule)
    np.testing.assert_allclose(found(rows).dense(), expected, atol=1e-5)
    asked = int(rule.asked(first)[0].sum())
    assert seen == [len(rows)] + [asked] * (2 if asked else 0)
    assert 0 < asked < len(rows) or confidence != 0.5


def test_metrics_hold_no_times_and_the_timing_holds_the_loading_share(done):
    folder = done.path("train-generalist", "units", "width-12")
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timing = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics] == [1, 2, 3]
    assert not any("second" in key or "time" in key for key in metrics[0])
    assert all(0 <= record["loading_share"] <= 1 for record in timing)


@pytest.mark.parametrize(
    ("best", "told"),
    [
        (3, "it no longer improved after epoch 3 of 4"),
        (4, "the last of 4 epochs was its best: more may help (generalist.epochs)"),
    ],
)
def test_whether_the_generalist_still_improved_is_told(best, told):
    assert when_best(best, 4) == told
