"""Metrics by hand and by brute force; the exact keys of evaluation.json; what the report gets."""

import dataclasses
import itertools
import json
import math
import re
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss, top_k_accuracy_score
from small_run import all_but_times
from synthetic_run import synthetic_run

from pipelines import evaluate_models as evaluation
from pipelines.evaluate_models import evaluate_models
from pipelines.runs import Run
from specialists.config import Config
from specialists.datasets.base import Ragged
from specialists.errors import InputError, SpecialistsError
from specialists.evaluation import (
    Details,
    Evaluation,
    InferenceTimes,
    Milliseconds,
    details,
    evaluate,
    measure_times,
    score_models,
)
from specialists.evaluation import scores as scores_module
from specialists.evaluation.details import under_trained
from specialists.evaluation.notable_examples import fixed, suspected_label_errors, top_classes
from specialists.evaluation.one_run import resample
from specialists.evaluation.scores import (
    Scores,
    expected_calibration_error,
    macro_accuracy,
    reliability_bins,
    score_model,
)
from specialists.evaluation.subsets import conditional_accuracy, gain_by_cluster
from specialists.files import read_json, write_array, write_json, write_text
from specialists.predictions import DensePredictions, ModelOutputs, read_rows
from specialists.probability import MAX_NLL
from specialists.runtime import report_progress, working_on

NAMES = (
    "generalist",
    "ensemble",
    "ensemble_paper",
    "ensemble_all",
    "generalist_continued",
    "generalist_wide",
    "generalist_ensemble",
    "generalist_ensemble_same_inference",
    "generalist_ensemble_deferred",
    "student",
    "student_hard_labels",
)
MODEL_KEYS = {
    "top1",
    "top1_interval",
    "top1_any_valid",
    "top1_macro",
    "top5",
    "nll",
    "ece",
    "agreement",
    "parameters",
    "inference_flops",
    "training_examples",
    "training_flops",
    "tuning_trials",
}
KEYS = {
    "dataset",
    "seed",
    "n_classes",
    "n_test",
    "n_groups",
    "models",
    "differences",
    "retention",
    "n_specialists",
    "n_answering",
    "conditional",
    "coverage",
}


def _outputs(log_probs, name="generalist"):
    rows = torch.tensor(np.asarray(log_probs, np.float32))
    return ModelOutputs(name, DensePredictions(rows), 10, 20.0, 30, 40.0)


def _from_probs(rows, name="generalist"):
    with np.errstate(divide="ignore"):
        return _outputs(np.log(rows), name)


def _random_log_probs(labels, n_classes, skill, seed):
    logits = np.random.default_rng(seed).normal(size=(len(labels), n_classes))
    logits[np.arange(len(labels)), labels] += skill
    logits -= logits.max(1, keepdims=True)
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).integers(0, 11, 600)


@pytest.fixture(scope="module")
def outputs(labels):
    skills = (1.5, 2.0, 1.8, 2.0, 1.52, 2.2, 2.0, 1.9, 1.95, 1.7, 1.0)
    return {
        name: _outputs(_random_log_probs(labels, 12, skill, seed), name)
        for seed, (name, skill) in enumerate(zip(NAMES, skills, strict=True))
    }


SUBSETS = ([0, 1, 2], [2, 3, 4, 5], [6])


@pytest.fixture(scope="module")
def result(outputs, labels):
    return evaluate(outputs, labels, None, SUBSETS, dataset="made", seed=3, n_bootstrap=200)


def _ragged(rows):
    offsets = np.cumsum([0, *map(len, rows)])
    return Ragged(torch.tensor([value for row in rows for value in row]), torch.tensor(offsets))


def test_four_answers_scored_by_hand():
    model = _from_probs([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1], [0.2, 0.2, 0.6]])
    valid = _ragged([[0], [1, 2], [0], [2]])
    scores = score_model(model, np.array([0, 1, 0, 2]), valid)
    assert scores.prediction.tolist() == [0, 2, 1, 2]
    assert scores.correct.tolist() == [True, False, False, True]
    assert scores.correct_any is not None
    assert scores.correct_any.tolist() == [True, True, False, True]
    assert scores.nll == pytest.approx(-np.log([0.7, 0.2, 0.4, 0.6]), rel=1e-6)
    assert scores.confidence == pytest.approx([0.7, 0.7, 0.5, 0.6], rel=1e-6)


def test_metrics_agree_with_scikit_learn(outputs, labels, result):
    for name, model in outputs.items():
        probs = np.exp(model.predictions.dense().numpy().astype(float))
        probs /= probs.sum(1, keepdims=True)
        found = result.models[name]
        classes = np.arange(12)
        assert found.top1 == pytest.approx((probs.argmax(1) == labels).mean())
        assert found.top5 == pytest.approx(top_k_accuracy_score(labels, probs, k=5, labels=classes))
        assert found.nll == pytest.approx(log_loss(labels, probs, labels=classes), rel=1e-5)


def test_macro_accuracy_leaves_out_absent_classes(labels):
    guess = np.random.default_rng(1).integers(0, 11, len(labels))
    guess[::2] = labels[::2]
    expected = balanced_accuracy_score(labels, guess)
    assert macro_accuracy(guess == labels, labels) == pytest.approx(expected)
    assert macro_accuracy(np.array([True, False, True]), np.array([5, 5, 9])) == 0.75


def test_calibration_error_is_the_mean_gap_of_the_bins():
    rng = np.random.default_rng(2)
    confidence, correct = rng.random(500), rng.random(500) < 0.6
    gap = 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, correct) == pytest.approx(gap)


def test_reliability_bins_count_every_example_and_leave_empty_bins_open():
    bins = reliability_bins(np.array([0.05, 0.96, 1.0]), np.array([False, True, False]))
    assert [b.n for b in bins] == [1, *[0] * 13, 2]
    last = bins[14]
    assert (last.low, last.high, last.n, last.accuracy) == (14 / 15, 1.0, 2, 0.5)
    assert last.confidence == pytest.approx(0.98)
    assert bins[4].accuracy is None


def test_a_label_of_probability_zero_costs_a_finite_loss():
    scores = score_model(_from_probs([[1.0, 0.0]]), np.array([1]), None)
    assert scores.nll[0] == pytest.approx(MAX_NLL)
    assert pytest.approx(87.34, abs=0.01) == MAX_NLL


def test_ties_rank_by_class_index():
    model = _from_probs([[0.125] * 8, [0.125] * 8])
    scores = score_model(model, np.array([4, 5]), None)
    assert scores.in_top5.tolist() == [True, False]
    assert scores.prediction.tolist() == [0, 0]


def test_blocks_of_rows_give_the_same_scores(outputs, labels, monkeypatch):
    whole = score_model(outputs["student"], labels, None)
    conditional = conditional_accuracy(outputs["student"].predictions, labels, _arrays(SUBSETS))
    monkeypatch.setattr(scores_module, "VALUES_PER_BLOCK", 100)
    parts = score_model(outputs["student"], labels, None)
    assert (parts.nll == whole.nll).all()
    assert (parts.in_top5 == whole.in_top5).all()
    assert conditional == conditional_accuracy(
        outputs["student"].predictions, labels, _arrays(SUBSETS)
    )


def _arrays(subsets):
    return [np.array(s) for s in subsets]


@pytest.mark.parametrize(
    ("log_probs", "labels", "message"),
    [
        ([[0.0, -1.0]], [0, 1], "do not fit 2 labels"),
        ([[0.0, -1.0]], [2], "do not fit"),
        ([[0.0, math.nan]], [0], "NaN in rows 0 to 0"),
    ],
)
def test_predictions_that_cannot_be_scored_are_named(log_probs, labels, message):
    with pytest.raises(SpecialistsError, match=message):
        score_model(_outputs(log_probs, "student"), np.array(labels), None)


def test_conditional_accuracy_restricts_examples_and_answers():
    model = _from_probs([[0.5, 0.3, 0.2, 0.0], [0.6, 0.1, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    labels = np.array([1, 2, 3])
    pairs = [
        True,  # row 0 in {1, 2}: 1 beats 2
        True,  # row 1 in {1, 2}: 2 beats 1
        False,  # row 1 in {0, 2}: 0 beats 2
    ]
    subsets = _arrays([[1, 2], [0, 2]])
    assert conditional_accuracy(model.predictions, labels, subsets) == pytest.approx(np.mean(pairs))


def test_conditional_accuracy_agrees_with_a_loop(outputs, labels):
    predictions, right = outputs["ensemble"].predictions, []
    for subset in SUBSETS:
        for row, label in zip(predictions.dense().tolist(), labels, strict=True):
            if label in subset:
                right.append(max(subset, key=row.__getitem__) == label)
    found = conditional_accuracy(predictions, labels, _arrays(SUBSETS))
    assert found == pytest.approx(np.mean(right))


def test_conditional_accuracy_without_covered_examples_is_unknown():
    assert conditional_accuracy(_from_probs([[0.5, 0.5]]).predictions, np.array([0]), []) is None


def test_coverage_splits_the_gain_by_the_number_of_specialists(outputs, labels, result):
    gain = _right(outputs, labels, "ensemble") - _right(outputs, labels, "generalist")
    number = np.array([sum(label in subset for subset in SUBSETS) for label in labels])
    assert [entry.specialists for entry in result.coverage] == [0, 1, 2]
    for entry in result.coverage:
        inside = number == entry.specialists
        assert entry.n_test == inside.sum()
        assert entry.gain == pytest.approx(gain[inside].mean())


@pytest.mark.parametrize("members", [(1,), (0, 2), (2, 0, 1)])
def test_only_specialists_that_may_answer_count(outputs, labels, members):
    own = [SUBSETS[m] for m in members]
    common: dict[str, Any] = {"dataset": "d", "seed": 3, "n_bootstrap": 20}
    found = evaluate(outputs, labels, None, SUBSETS, members=members, **common)
    alone = evaluate(outputs, labels, None, own, **common)
    assert found == dataclasses.replace(alone, n_specialists=3)
    assert found.n_answering == len(members)
    assert found.conditional != {"generalist": None, "ensemble": None}


def test_without_a_specialist_that_may_answer_there_is_nothing_to_tell(outputs, labels):
    common: dict[str, Any] = {"seed": 3, "n_bootstrap": 20, "members": ()}
    found = evaluate(outputs, labels, None, SUBSETS, dataset="d", **common)
    assert (found.n_specialists, found.n_answering) == (3, 0)
    assert found.conditional == {"generalist": None, "ensemble": None}
    assert found.coverage == ()
    assert details(outputs, labels, None, SUBSETS, **common).per_cluster == ()


def test_clusters_keep_their_numbers_where_others_may_not_answer(outputs, labels):
    common: dict[str, Any] = {"seed": 3, "n_bootstrap": 20}
    everyone = details(outputs, labels, None, SUBSETS, **common).per_cluster
    assert [entry.cluster for entry in everyone] == [0, 1, 2]
    found = details(outputs, labels, None, SUBSETS, members=(0, 2), **common).per_cluster
    assert found == (everyone[0], everyone[2])


def _right(outputs, labels, name):
    return (outputs[name].predictions.dense().numpy().argmax(1) == labels).astype(float)


def test_evaluation_has_exactly_the_documented_keys(result):
    written = result.to_dict()
    assert set(written) == KEYS
    assert set(written["models"]) == set(NAMES)
    assert all(set(model) == MODEL_KEYS for model in written["models"].values())
    assert set(written["conditional"]) == {"generalist", "ensemble"}
    assert all(set(e) == {"specialists", "n_test", "gain"} for e in written["coverage"])
    keys = {"a", "b", "metric", "value", "interval", "p"}
    assert all(set(entry) == keys for entry in written["differences"])


def test_evaluation_comes_back_from_finite_json(result):
    assert Evaluation.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result


def test_what_is_no_evaluation_names_the_first_field_that_is_wrong(result):
    written = result.to_dict()
    with pytest.raises(InputError, match=r"Evaluation is damaged: Field required\n.*coverage"):
        Evaluation.from_dict({key: written[key] for key in written if key != "coverage"})
    written["models"]["student"]["nll"] = "low"
    with pytest.raises(InputError, match=r"valid number.*\n.*models\.student\.nll"):
        Evaluation.from_dict(written)


def test_every_comparison_is_made_in_both_metrics(result):
    pairs = [(d.a, d.b) for d in result.differences if d.metric == "top1"]
    assert pairs == [
        ("ensemble", "generalist"),
        ("ensemble", "generalist_continued"),
        ("ensemble", "generalist_wide"),
        ("ensemble", "generalist_ensemble"),
        ("ensemble", "generalist_ensemble_same_inference"),
        ("ensemble", "generalist_ensemble_deferred"),
        ("ensemble_paper", "generalist"),
        ("ensemble_all", "generalist"),
        ("student", "student_hard_labels"),
        ("student", "generalist"),
    ]
    assert pairs == [(d.a, d.b) for d in result.differences if d.metric == "nll"]


def test_differences_are_a_minus_b_inside_their_interval(result):
    for d in result.differences:
        a, b = (result.models[name].mean(d.metric) for name in (d.a, d.b))
        assert d.value == pytest.approx(a - b)
        low, high = d.interval
        assert low <= d.value <= high
        assert 0 <= d.p <= 1


def test_clear_differences_have_a_small_p_and_the_right_sign(result):
    found = {(d.a, d.b, d.metric): d for d in result.differences}
    top1 = found["student", "student_hard_labels", "top1"]
    nll = found["student", "student_hard_labels", "nll"]
    assert top1.value > 0 > nll.value
    assert top1.p < 0.01
    assert nll.p < 0.01


def test_the_ensemble_agrees_with_itself(result, outputs):
    answers = {name: model.predictions.dense().numpy().argmax(1) for name, model in outputs.items()}
    assert result.models["ensemble"].agreement == 1.0
    same = (answers["student"] == answers["ensemble"]).mean()
    assert result.models["student"].agreement == pytest.approx(same)


def test_retention_is_the_share_of_the_gain_that_the_student_keeps(result):
    student, hard, ensemble = (
        result.models[name].top1 for name in ("student", "student_hard_labels", "ensemble")
    )
    assert result.retention == pytest.approx((student - hard) / (ensemble - hard))


def test_retention_of_no_gain_is_null_with_a_reason(outputs, labels):
    same = outputs | {"student_hard_labels": outputs["ensemble"]}
    found = evaluate(same, labels, None, SUBSETS, dataset="d", seed=0, n_bootstrap=50)
    assert found.retention is None
    assert "not all of it above 0" in str(found.retention_reason)


def test_comparisons_of_absent_models_are_left_out(outputs, labels):
    few = {name: outputs[name] for name in ("generalist", "ensemble", "generalist_wide")}
    found = evaluate(few, labels, None, SUBSETS, dataset="d", seed=0, n_bootstrap=50)
    pairs = {(d.a, d.b) for d in found.differences}
    assert pairs == {("ensemble", "generalist"), ("ensemble", "generalist_wide")}
    assert found.retention_reason == "there is no student and no student_hard_labels"


def test_without_an_ensemble_nothing_can_be_evaluated(outputs, labels):
    with pytest.raises(SpecialistsError, match="predictions of ensemble"):
        score_models({"generalist": outputs["generalist"]}, labels, None)


def test_label_sets_raise_accuracy_by_other_valid_answers(outputs, labels, result):
    answers = outputs["generalist"].predictions.dense().numpy().argmax(1)
    valid = _ragged([sorted({int(y), int(a)}) for y, a in zip(labels, answers, strict=True)])
    found = evaluate(outputs, labels, valid, SUBSETS, dataset="d", seed=3, n_bootstrap=50)
    assert found.models["generalist"].top1_any_valid == 1.0
    assert found.models["generalist"].top1 == result.models["generalist"].top1
    assert result.models["generalist"].top1_any_valid is None


def test_the_same_seed_gives_the_same_evaluation(outputs, labels, result):
    again = evaluate(outputs, labels, None, SUBSETS, dataset="made", seed=3, n_bootstrap=200)
    assert again == result


def test_log_probs_may_be_memory_mapped(outputs, labels, result, tmp_path):
    mapped = {}
    for name, model in outputs.items():
        np.save(tmp_path / f"{name}.npy", model.predictions.dense().numpy())
        rows = DensePredictions(read_rows(tmp_path / f"{name}.npy"))
        mapped[name] = ModelOutputs(name, rows, 10, 20.0, 30, 40.0)
    again = evaluate(mapped, labels, None, SUBSETS, dataset="made", seed=3, n_bootstrap=200)
    assert again == result


def _scores(acceptable, nll, confidence=None, prediction=None):
    n = len(acceptable)
    right = np.array(acceptable, dtype=bool)
    return Scores(
        prediction=np.zeros(n, int) if prediction is None else np.array(prediction),
        correct=right,
        in_top5=right,
        correct_any=None,
        nll=np.array(nll, dtype=float),
        confidence=np.ones(n) if confidence is None else np.array(confidence),
    )


def test_fixed_examples_come_by_the_rise_of_their_label():
    base = _scores([0, 0, 1, 0], -np.log([0.4, 0.1, 0.9, 0.2]))
    better = _scores([1, 1, 0, 0], -np.log([0.6, 0.8, 0.3, 0.2]))
    assert fixed(base, better).tolist() == [1, 0]
    assert fixed(better, base).tolist() == [2]


def test_suspects_are_as_sure_as_their_class_usually_is():
    labels = np.array([0, 0, 1, 1, 1])
    ensemble = _scores(
        [1, 1, 0, 0, 0],
        -np.log([0.8, 0.8, 0.05, 0.01, 0.3]),
        confidence=[0.8, 0.8, 0.9, 0.99, 0.7],
        prediction=[0, 0, 0, 0, 0],
    )
    assert suspected_label_errors(ensemble, labels, 2).tolist() == [3, 2]


def test_a_doubt_without_a_clear_other_class_is_no_suspicion():
    half_sure = _scores([1, 0], -np.log([0.3, 0.1]), confidence=[0.3, 0.45], prediction=[0, 0])
    assert len(suspected_label_errors(half_sure, np.array([0, 1]), 2)) == 0


def test_a_planted_label_error_is_found_first(outputs, labels):
    probs = np.full((600, 12), 0.02)
    probs[np.arange(600), labels] = 0.78
    wrong = labels.copy()
    wrong[17] = (labels[17] + 3) % 11
    models = {"generalist": outputs["generalist"], "ensemble": _from_probs(probs, "ensemble")}
    found = details(models, wrong, None, SUBSETS, seed=0, n_bootstrap=20)
    assert found.label_errors.n == 1
    suspect = found.label_errors.examples[0]
    assert (suspect.row, suspect.suggested) == (17, labels[17])
    assert suspect.self_confidence == pytest.approx(0.02, rel=1e-4)


def test_an_answer_that_is_also_valid_is_no_label_error(outputs, labels):
    wrong = (labels + 1) % 11
    valid = _ragged([[int(w), int(y)] for w, y in zip(wrong, labels, strict=True)])
    probs = np.full((600, 12), 0.02)
    probs[np.arange(600), labels] = 0.78
    models = {"generalist": outputs["generalist"], "ensemble": _from_probs(probs, "ensemble")}
    found = details(models, wrong, valid, SUBSETS, seed=0, n_bootstrap=20)
    assert found.label_errors.n == 0


def test_a_specialists_last_column_is_its_dustbin():
    top = top_classes(np.log(np.array([0.2, 0.5, 0.3])), np.array([7, 4]))
    assert [entry.label for entry in top] == [4, None, 7]
    assert [entry.probability for entry in top] == pytest.approx([0.5, 0.3, 0.2])


def test_details_show_the_active_specialists_of_changed_examples(outputs, labels):
    asked = []

    def ask(rows):
        asked.extend(rows.tolist())
        return {int(row): {2: np.log([0.9, 0.1])} for row in rows}

    texts = [f"text {i}" for i in range(600)]
    found = details(
        outputs,
        labels,
        None,
        SUBSETS,
        seed=0,
        n_bootstrap=20,
        n_examples=3,
        texts=texts,
        ask_specialists=ask,
    )
    shown = found.fixed.examples + found.broken.examples
    assert [example.row for example in shown] == asked
    for example in shown:
        assert example.text == f"text {example.row}"
        assert example.specialists[0].top[0].label == 6
        assert example.valid == (example.label,)
        assert len(example.generalist) == len(example.ensemble) == 3
    base, better = (_right(outputs, labels, n) for n in ("generalist", "ensemble"))
    assert found.fixed.n == (better > base).sum()
    assert found.broken.n == (better < base).sum()


def test_details_come_back_from_finite_json(outputs, labels):
    found = details(outputs, labels, None, SUBSETS, seed=0, n_bootstrap=20, temperature=1.4)
    assert Details.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    assert set(found.reliability) == {"generalist_uncalibrated", *NAMES}
    assert found.per_class["n"] == tuple(np.bincount(labels, minlength=12))
    assert found.per_class["generalist"][11] is None


def test_gain_of_a_cluster_is_over_its_own_examples():
    labels = np.array([0, 0, 1, 2])
    base, better = np.array([True, False, False, True]), np.array([True, True, False, False])
    table = gain_by_cluster(base, better, labels, _arrays([[0, 1], [2], [3]]), n_bootstrap=50)
    assert [entry.n_test for entry in table] == [3, 1, 0]
    assert table[0].gain == pytest.approx(1 / 3)
    assert table[1].gain == -1.0
    assert table[2].gain is None


def test_the_generalist_without_its_temperature_is_shown_beside_the_calibrated_one():
    labels = np.arange(60) % 7
    raw = _random_log_probs(labels, 7, 3.0, 0)
    calibrated = raw / 1.7
    calibrated -= np.log(np.exp(calibrated).sum(1, keepdims=True))
    outputs = {name: _outputs(calibrated, name) for name in ("generalist", "ensemble")}
    found = details(outputs, labels, None, [[0, 1]], seed=0, n_bootstrap=5, temperature=1.7)
    expected = reliability_bins(np.exp(raw.max(1)), raw.argmax(1) == labels)
    bins = found.reliability["generalist_uncalibrated"]
    assert [b.n for b in bins] == [b.n for b in expected]
    means = [b.confidence for b in expected]
    assert [b.confidence for b in bins] == pytest.approx(means, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize(("after", "flag"), [(50, False), (51, True), (49, False)])
def test_a_generalist_that_gains_by_training_on_is_flagged(after, flag):
    models = {
        "generalist": _scores(np.arange(100) < 50, np.ones(100)),
        "generalist_continued": _scores(np.arange(100) < after, np.ones(100)),
    }
    found = under_trained(models)
    assert found is not None
    assert found.flag is flag
    assert found.relative_gain == pytest.approx((after - 50) / 50)


def test_without_the_control_nothing_is_flagged():
    assert under_trained({"generalist": _scores([True], [0.1])}) is None


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """A run folder whose models answer at random, and the function that evaluates it."""
    run = synthetic_run(tmp_path, n_test=120, n_classes=12)
    (run.folder / "evaluation.json").unlink()
    truth = np.load(run.path("prepare-data", "test.labels.npy"))
    made = {
        name: _outputs(_random_log_probs(truth, 12, 1.0, seed), name)
        for seed, name in enumerate(NAMES)
    }
    write_json(run.path("train-generalist", "calibration.json"), {"temperature": 1.2})
    groups = {"ensemble": NAMES[:4], "baseline": NAMES[4:9], "student": NAMES[9:]}
    for kind, names in groups.items():
        some = {name: made[name] for name in names}
        monkeypatch.setattr(evaluation, f"{kind}_outputs", lambda run, split, some=some: some)
    monkeypatch.setattr(evaluation, "specialist_answers", lambda run, split, rows: {})
    monkeypatch.setattr(evaluation, "inference_times", lambda run: timed(1.0))
    return run


def timed(one):
    """Times of the generalist alone, of one row in milliseconds."""
    models = {"generalist": Milliseconds(one, 50.0)}
    return InferenceTimes(machine="A", threads=1, n_rows=120, models=models)


def test_a_run_is_evaluated_into_its_folder(evaluated):
    result = evaluate_models(evaluated)
    assert read_json(evaluated.folder / "evaluation.json") == result.to_dict()
    assert set(result.models) == set(NAMES)
    assert result.seed == 5
    texts = read_json(evaluated.path("evaluate-models", "details.json"))["fixed"]["examples"]
    assert texts[0]["text"].startswith("example <")


def test_times_are_written_and_told_and_change_no_result(evaluated, monkeypatch, capsys):
    contents = []
    for one in (1.0, 7.0):
        monkeypatch.setattr(evaluation, "inference_times", lambda run, one=one: timed(one))
        shutil.rmtree(evaluated.path("evaluate-models"))
        evaluation.execute(evaluated)
        contents.append(all_but_times(evaluated.folder))
        file = evaluated.path("evaluate-models", "timing-inference.json")
        assert InferenceTimes.from_dict(read_json(file)) == timed(one)
        told = capsys.readouterr().out
        assert f"nats  {one:.1f} ms a row, 50 ms for 120\n" in told
        assert "not timed" in told
    assert "evaluation.json" in contents[0]
    assert contents[0] == contents[1]
    shutil.rmtree(evaluated.path("evaluate-models"))
    evaluation.execute(evaluated, split="validation")
    assert not file.exists()
    assert " ms " not in capsys.readouterr().out


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_baseline_below_the_generalist_is_told_without_a_claim_that_it_is_worse(
    evaluated, monkeypatch, split
):
    truth = np.load(evaluated.path("prepare-data", f"{split}.labels.npy"))
    skills = {"generalist": (4.0, 0), "generalist_wide": (4.0, 1), "generalist_ensemble": (0.5, 2)}
    made = {n: _outputs(_random_log_probs(truth, 12, *how), n) for n, how in skills.items()}
    made["ensemble"] = made["student"] = made["generalist"]
    for kind in ("ensemble", "baseline", "student"):
        monkeypatch.setattr(evaluation, f"{kind}_outputs", lambda run, split: made)
    lines: list[str] = []
    monkeypatch.setattr(evaluation.log, "info", lines.append)
    shutil.rmtree(evaluated.path("evaluate-models"))
    evaluation.execute(evaluated, split=split)
    told = "".join(line + "\n" for line in lines if "generalist in" in line)
    both = r"generalist_ensemble is no better than the generalist in top-1 \(.*\) and in NLL \(.*\)"
    assert re.search(f"^{split}: {both}$", told, re.M), told
    assert "worse" not in told


def test_the_bar_is_not_full_while_predictions_are_timed(evaluated, monkeypatch):
    shown, while_timed = [0.0], []

    def predict(inputs):
        while_timed.append(shown[-1])
        return DensePredictions(torch.zeros(len(inputs), 2))

    def times(run):
        return measure_times({"generalist": predict}, torch.zeros(3, 2), "A")

    monkeypatch.setattr(evaluation, "inference_times", times)
    shutil.rmtree(evaluated.path("evaluate-models"))
    with report_progress(lambda work: shown.append(work.fraction)), working_on("evaluate-models"):
        evaluation.execute(evaluated)
    assert all(0 < fraction < 1 for fraction in while_timed)
    assert shown[-1] == 1


@pytest.mark.parametrize("baselines", ["all", None])
def test_what_was_not_trained_is_told_with_the_command_that_adds_it(
    evaluated, baselines, monkeypatch
):
    values = {"evaluation": {"n_bootstrap": 20, "baselines": baselines}}
    write_text(evaluated.config_file, Config.from_dict(values).to_toml())
    shutil.rmtree(evaluated.path("evaluate-models"))
    lines: list[str] = []
    monkeypatch.setattr(evaluation.log, "info", lines.append)
    evaluation.execute(Run(evaluated.folder), split="validation")
    told = [text for text in lines if "not trained" in text]
    assert len(told) == (baselines is None)
    for text in told:
        assert "the generalist trained longer and a wider generalist" in text
        assert f"run --out {evaluated.folder} --set evaluation.baselines=all" in text


def test_a_run_is_evaluated_over_the_specialists_of_its_chosen_rule(evaluated):
    file = evaluated.path("combine-predictions", "choice.json")
    chosen = read_json(file)["chosen"]
    for members in ([1], []):
        write_json(file, {"chosen": {**chosen, "members": members}})
        for split in ("validation", "test"):
            found = evaluate_models(evaluated, split=split)
            assert (found.n_specialists, found.n_answering) == (2, len(members))
            assert (found.coverage == ()) == (members == [])
        per_cluster = read_json(evaluated.path("evaluate-models", "details.json"))["per_cluster"]
        assert [entry["cluster"] for entry in per_cluster] == members


def test_evaluating_on_validation_reads_no_test_label_and_leaves_the_result_alone(evaluated):
    for file in evaluated.path("prepare-data").glob("test.[lv]*"):
        file.unlink()
    result = evaluate_models(evaluated, split="validation")
    assert read_json(evaluated.path("evaluate-models", "validation.json")) == result.to_dict()
    assert not (evaluated.folder / "evaluation.json").exists()


def test_texts_that_utf8_cannot_hold_do_not_stop_the_evaluation(outputs, labels, tmp_path):
    texts = ["\ud800 broken"] * len(labels)
    found = details(outputs, labels, None, SUBSETS, seed=0, n_bootstrap=20, texts=texts)
    write_json(tmp_path / "details.json", found.to_dict())
    assert read_json(tmp_path / "details.json")["fixed"]["examples"][0]["text"] == "? broken"


def _evaluated(outputs, labels, groups, n_bootstrap=200):
    found = evaluate(
        outputs, labels, None, SUBSETS, dataset="made", seed=3, n_bootstrap=n_bootstrap,
        groups=groups,
    )  # fmt: skip
    json.dumps(found.to_dict(), allow_nan=False)
    return found


def test_groups_of_one_example_change_nothing(outputs, labels, result):
    assert _evaluated(outputs, labels, np.random.default_rng(0).permutation(600)) == result
    assert result.n_groups == 600
    more = details(outputs, labels, None, SUBSETS, seed=3, n_bootstrap=20, groups=np.arange(600))
    assert more == details(outputs, labels, None, SUBSETS, seed=3, n_bootstrap=20)


def test_repeated_examples_tell_no_more_than_once(outputs, labels):
    times = np.repeat(np.arange(600), 5)
    repeated = {
        name: ModelOutputs(name, model.predictions[torch.from_numpy(times)], 10, 20.0, 30, 40.0)
        for name, model in outputs.items()
    }
    result = _evaluated(outputs, labels, None, 2000)
    found = _evaluated(repeated, labels[times], times, 2000)
    blind = _evaluated(repeated, labels[times], None, 2000)
    assert (found.n_test, found.n_groups, blind.n_groups) == (3000, 600, 3000)
    for once, five, rows in zip(*(x.differences for x in (result, found, blind)), strict=True):
        assert five.p == pytest.approx(once.p, rel=1e-9)
        assert rows.p <= five.p
        width, narrow = (d.interval[1] - d.interval[0] for d in (five, rows))
        assert width == pytest.approx(once.interval[1] - once.interval[0], rel=0.1)
        assert width > 1.8 * narrow


def test_few_groups_have_students_intervals_and_no_p(outputs, labels):
    groups = np.arange(600) % 7
    found = _evaluated(outputs, labels, groups)
    assert found.n_groups == 7
    right = {name: _right(outputs, labels, name) for name in NAMES}
    for d in found.differences:
        assert d.p is None
        if d.metric == "top1":
            gap = right[d.a] - right[d.b]
            residuals = np.bincount(groups, weights=gap - gap.mean())
            half = 2.4469 * np.sqrt(7 / 6 * (residuals**2).sum()) / 600
            assert d.interval == pytest.approx([gap.mean() - half, gap.mean() + half], rel=1e-3)
    more = details(outputs, labels, None, SUBSETS, seed=3, n_bootstrap=20, groups=groups)
    json.dumps(more.to_dict(), allow_nan=False)
    assert more.per_cluster[0].interval != _by_rows(outputs, labels)[0].interval


def _by_rows(outputs, labels):
    return details(outputs, labels, None, SUBSETS, seed=3, n_bootstrap=20).per_cluster


def test_one_group_leaves_open_all_that_is_possible(outputs, labels):
    found = _evaluated(outputs, labels, np.zeros(600, dtype=int), n_bootstrap=20)
    assert found.models["ensemble"].top1_interval == (0, 1)
    for d in found.differences:
        assert d.interval == ((-1, 1) if d.metric == "top1" else (-MAX_NLL, MAX_NLL))
    assert found.retention is None


@pytest.mark.parametrize("groups", [None, np.arange(600) // 5])
def test_all_models_share_the_draws_of_test_examples(groups):
    rng = np.random.default_rng(0)
    luck, right = rng.normal(size=600), rng.random(600) < 0.3
    scores = {name: _scores(right if i % 2 else ~right, luck + i) for i, name in enumerate(NAMES)}
    means = resample(scores, 300, 0, groups).means
    top1, nll = means["top1"], means["nll"]
    for i, name in enumerate(NAMES):
        np.testing.assert_allclose(nll[name] - nll["generalist"], i, atol=1e-12)
        both = top1[name] + top1[NAMES[1 - i % 2]]
        np.testing.assert_allclose(both, 1, atol=1e-12)
    assert top1["ensemble"].std() > 0.01


def test_a_run_s_groups_are_those_of_its_data_set(evaluated):
    write_array(evaluated.path("prepare-data", "test.groups.npy"), np.arange(120) // 4)
    write_array(evaluated.path("prepare-data", "validation.groups.npy"), np.arange(120) // 12)
    found = evaluate_models(evaluated)
    assert found.n_groups == 30
    validation = evaluate_models(evaluated, split="validation")
    assert validation.n_groups == 10
    assert {d.p for d in validation.differences} == {None}
