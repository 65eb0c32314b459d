"""A row of weight 2 counts as two rows do, wherever rows are summed."""

import warnings
from typing import Any

import numpy as np
import pytest
import small_run
import torch
from test_estimator import classifier

from specialists.calibration import fit_calibration, fit_temperature
from specialists.combination import fit_combination, fit_dustbin
from specialists.config import CombinationConfig, SpecialistsConfig
from specialists.covariance import PredictionCovariance, PredictionSketch
from specialists.datasets import Split, load_dataset_folder
from specialists.distillation import CellDistillationLoss, DrawnDistillationLoss
from specialists.distillation.student_training import student_examples
from specialists.ensemble import CombinationRule, KeptRows, MemberPredictions, choose_rule, score
from specialists.ensemble.judging import deferral_limit
from specialists.files import read_json, read_tensors
from specialists.losses import CrossEntropy, DistillationLoss, SpecialistLoss, relative_weights
from specialists.predictions import DensePredictions
from specialists.shared.shortlist_training import ShortlistLoss
from specialists.specialist.sampling import natural_weights, subset_examples, subset_validation

N, C = 60, 5
DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(N, C, generator=DRAW)
OTHERS = torch.randn(N, C, generator=DRAW)
CLASSES = torch.stack([torch.randperm(C, generator=DRAW)[:3] for _ in range(N)])
LABELS = torch.where(
    torch.rand(N, generator=DRAW) < 0.6,
    LOGITS.argmax(1),
    torch.randint(C, (N,), generator=DRAW),
)
WEIGHTS = torch.randint(1, 4, (N,), generator=DRAW).float()
TWICE = torch.arange(N).repeat_interleave(WEIGHTS.long())
SUBSETS = [torch.tensor([0, 1]), torch.tensor([2, 3])]
MEMBERS = [torch.randn(N, 3, generator=DRAW).log_softmax(1) for _ in SUBSETS]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_loss_sums_a_row_as_often_as_it_counts(smoothing):
    (weights,) = relative_weights(WEIGHTS)
    target = OTHERS.softmax(1)
    cases = {
        CrossEntropy(smoothing): (LABELS,),
        DistillationLoss(2.0, 0.7, smoothing): (OTHERS, LABELS),
        SpecialistLoss(2.0, 0.3, smoothing): (target, LABELS),
        ShortlistLoss(smoothing): (LABELS,),
        CellDistillationLoss(2.0, 0.7, smoothing): (CLASSES, target[:, :4].log(), LABELS),
        DrawnDistillationLoss(2.0, 0.7, smoothing): (CLASSES, target[:, :3], LABELS),
    }
    for loss, targets in cases.items():
        repeated = loss(LOGITS[TWICE], *(rows[TWICE] for rows in targets))
        assert torch.allclose(loss(LOGITS, *targets, weights), repeated, atol=1e-6)
        assert not torch.allclose(loss(LOGITS, *targets), repeated, atol=1e-4)


def test_calibrations_count_a_row_as_often():
    expected = fit_temperature(3 * LOGITS[TWICE], LABELS[TWICE])
    assert fit_temperature(3 * LOGITS, LABELS, counts=WEIGHTS) == pytest.approx(expected, rel=1e-3)
    importance = torch.rand(N, generator=torch.Generator().manual_seed(1)) + 0.1
    expected = fit_temperature(3 * LOGITS[TWICE], LABELS[TWICE], importance[TWICE])
    found = fit_temperature(3 * LOGITS, LABELS, importance, WEIGHTS)
    assert found == pytest.approx(expected, rel=1e-3)
    repeated = fit_calibration(LOGITS[TWICE], LABELS[TWICE], 0.5)
    found = fit_calibration(LOGITS, LABELS, 0.5, WEIGHTS)
    assert found.temperature == pytest.approx(repeated.temperature, rel=1e-3)
    assert found.dustbin_bias == pytest.approx(repeated.dustbin_bias, abs=1e-3)


@pytest.mark.parametrize("options", [{}, {"n_dimensions": 8}])
def test_co_predictions_count_a_row_as_often(options):
    probs = LOGITS.softmax(1)
    for streaming in (PredictionCovariance, PredictionSketch):
        given = options if streaming is PredictionSketch else {}
        found: Any = streaming(C, **given).update(probs[:20], WEIGHTS[:20])
        found.update(probs[20:].numpy(), WEIGHTS[20:].numpy())
        expected: Any = streaming(C, **given).update(probs[TWICE])
        assert found.n_samples == expected.n_samples
        assert np.allclose(found.mean, expected.mean)
        dense: Any = [
            getattr(m, "toarray", lambda m=m: m)()
            for m in (found.confusion(), expected.confusion())
        ]
        assert np.allclose(*dense)
        if streaming is PredictionCovariance:
            assert np.allclose(found.covariance(), expected.covariance())
        elif options:
            assert np.allclose(found.columns(), expected.columns())


def members(weighted: bool) -> MemberPredictions:
    index = torch.arange(N) if weighted else TWICE
    return MemberPredictions(
        DensePredictions(LOGITS.log_softmax(1)[index]),
        [rows[index] for rows in MEMBERS],
        SUBSETS,
        10.0,
        torch.tensor([2.0, 3.0], dtype=torch.float64),
        weights=WEIGHTS if weighted else None,
    )


def test_numbers_of_a_combination_are_fitted_to_a_row_as_often():
    active = torch.ones(N, 2, dtype=torch.bool)
    active[::3, 0] = False
    given: Any = (LOGITS.log_softmax(1), MEMBERS, SUBSETS, LABELS, active)
    repeated: Any = [
        [rows[TWICE] for rows in part]
        if part is MEMBERS
        else part
        if part is SUBSETS
        else part[TWICE]
        for part in given
    ]
    found, expected = fit_dustbin(*given, counts=WEIGHTS), fit_dustbin(*repeated)
    for name in ("specialist", "generalist", "bias"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-5)
    found, expected = fit_combination(*given, counts=WEIGHTS), fit_combination(*repeated)
    assert torch.allclose(found.weights, expected.weights, atol=1e-3)
    assert not torch.allclose(found.weights, fit_combination(*given).weights, atol=1e-3)


def test_rules_are_scored_and_admitted_by_a_row_as_often():
    settings = CombinationConfig(rules=("kl", "side_by_side"), n=(1,), max_cost=9.0)
    choices = []
    for weighted in (True, False):
        rows, labels = members(weighted), LABELS if weighted else LABELS[TWICE]
        groups = torch.arange(N) if weighted else TWICE
        kept = KeptRows(rows, labels, groups)
        choices.append(choose_rule(rows, labels, settings, kept, needs_test=True, groups=groups))
    found, expected = choices
    assert found.generalist == pytest.approx(expected.generalist)
    assert found.asked == pytest.approx(expected.asked)
    assert found.relative_cost == pytest.approx(expected.relative_cost)
    tests = [choice.admission.specialists[0] for choice in choices]
    assert tests[0].mean_gain == pytest.approx(tests[1].mean_gain, abs=1e-4)
    assert tests[0].p == pytest.approx(tests[1].p, abs=1e-3)
    for share in (0.2, 0.5, 0.9):
        limit = deferral_limit(members(True).generalist, share, WEIGHTS)
        assert limit == pytest.approx(deferral_limit(members(False).generalist, share))
    rule = CombinationRule("side_by_side", 1, 1.0)
    pairs = [members(w).joined(rule) for w in (True, False)]
    assert score(pairs[0], LABELS, WEIGHTS) == pytest.approx(
        score(pairs[1], LABELS[TWICE]), abs=1e-5
    )


def test_a_specialist_sees_its_shares_whatever_its_rows_count():
    subset, settings = SUBSETS[0], SpecialistsConfig(subset_share=0.5, soft_targets=0.0)
    predictions = DensePredictions(LOGITS.log_softmax(1))
    examples, share = subset_examples(LOGITS, LABELS, predictions, subset, settings, None, WEIGHTS)
    inside = torch.isin(LABELS, subset)
    assert share == pytest.approx(float(inside[TWICE].double().mean()))
    weights = examples.batch(torch.arange(N), torch.Generator()).targets[2]
    for side in (inside, ~inside):
        assert float(weights[side].mean()) == pytest.approx(1)
    judged = subset_validation(LOGITS, LABELS, C, subset, 0.5, counts=WEIGHTS)
    repeated = subset_validation(LOGITS[TWICE], LABELS[TWICE], C, subset, 0.5)
    network = torch.nn.Linear(C, 3)
    assert judged(network) == pytest.approx(repeated(network), abs=1e-4)


def test_a_sample_of_the_others_stands_for_all_of_them():
    subset = torch.tensor([0])
    judged = subset_validation(LOGITS, LABELS, C, subset, 0.5, least=5, counts=WEIGHTS)
    assert len(judged.labels) < N
    weights = natural_weights(judged, subset, N, WEIGHTS)
    assert weights is not None
    assert float(weights.sum()) == pytest.approx(float(WEIGHTS.sum()))
    inside = judged.labels == 0
    assert float(weights[inside].sum()) == pytest.approx(float(WEIGHTS[LABELS == 0].sum()))


X, Y = small_run.features(20, 2)
QUIET = pytest.mark.filterwarnings("ignore::specialists.errors.DataWarning")


@QUIET
def test_weights_of_one_change_nothing_and_rows_of_weight_zero_are_not_there():
    plain = classifier().fit(X, Y).predict_proba(X)
    assert np.array_equal(classifier().fit(X, Y, np.ones(len(Y))).predict_proba(X), plain)
    more, labels = np.concatenate([X, X[::-1]]), np.concatenate([Y, Y])
    weights = np.repeat([1.0, 0.0], len(Y))
    assert np.array_equal(classifier().fit(more, labels, weights).predict_proba(X), plain)


def test_a_common_factor_of_weights_moves_priors_and_no_gradient():
    models = [classifier().fit(X, Y, factor * np.ones(len(Y))) for factor in (1.0, 2.0)]
    folders = [model._held.path("train-generalist") for model in models]
    one, two = (read_tensors(folder / "weights.safetensors") for folder in folders)
    assert all(torch.equal(one[name], two[name]) for name in one)
    one, two = (read_json(folder / "calibration.json")["temperature"] for folder in folders)
    assert 0 < abs(one - two) < 0.1


@pytest.fixture(scope="module")
def weighted():
    """Fitted to rows that count once to four times; its data, and the weights its rule saw."""
    seen = []

    def watched(predictions, labels, settings, kept, **more):
        seen.extend([predictions.weights, kept.predictions.weights])
        return choose_rule(predictions, labels, settings, kept, **more)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in ("pipelines", "specialists.pipelines"):
            patch.setattr(f"{package}.combine_predictions.choose_rule", watched)
        settings = {**classifier().settings, "data.admission_fraction": 0.3}
        counts = 1.0 + np.arange(len(Y)) * 7 % 4
        model = classifier(settings=settings).fit(X, Y, counts)
    return model, load_dataset_folder(model._held.path("prepare-data"), test_labels=True), seen


def test_a_fit_keeps_the_weight_of_every_row(weighted):
    _, dataset, seen = weighted
    for split in dataset.splits.values():
        assert split.weights is not None
        assert torch.equal(split.weights, 1.0 + split.rows * 7 % 4)
    assert any("each counts once" in note for note in dataset.notes)
    for found, split in zip(seen, (dataset.validation, dataset.admission), strict=True):
        assert torch.equal(found, split.weights)


def test_calibration_co_predictions_and_scores_of_a_fit_count_rows_as_often(weighted):
    model, dataset, _ = weighted
    labels, weights = dataset.validation.labels, dataset.validation.weights
    folder = model._held.path("train-generalist")
    log_probs = torch.from_numpy(np.load(folder / "validation.log_probs.npy")).double()
    found = read_json(folder / "calibration.json")["temperature"]
    right, wrong = (fit_temperature(log_probs, labels, counts=c) for c in (weights, None))
    assert abs(found - right) < min(1e-3, abs(found - wrong) / 3)
    calibrated = (log_probs / found).log_softmax(1)
    covariance = np.load(model._held.path("cluster-classes", "covariance.npy"))
    for counts in (weights, None):
        expected = PredictionCovariance(12).update(calibrated.exp(), counts).covariance()
        assert np.allclose(covariance, expected, atol=1e-5) == (counts is not None)
    right = (log_probs.argmax(1) == labels).double()
    top1 = float((right * weights).sum() / weights.sum())
    assert model.choice_.generalist["top1"] == pytest.approx(top1)
    assert top1 != pytest.approx(float(right.mean()))


def test_a_score_counts_rows_as_often(weighted):
    model, counts = weighted[0], np.arange(len(Y)) % 3
    assert model.score(X, Y, counts) == model.score(np.repeat(X, counts, 0), np.repeat(Y, counts))
    assert model.score(X, Y, counts) != model.score(X, Y)


@pytest.mark.parametrize(
    "teacher", [None, OTHERS.log_softmax(1), lambda inputs: inputs.log_softmax(1)]
)
def test_examples_of_a_student_bring_their_weights(teacher):
    split = Split(LOGITS, LABELS, weights=WEIGHTS)
    index = torch.tensor([3, 0])
    batch = student_examples(split, teacher).batch(index, torch.Generator())
    targets = batch.to(torch.device("cpu")).targets
    assert len(targets) == 2 + (teacher is not None)
    torch.testing.assert_close(targets[-1], WEIGHTS[index] / WEIGHTS.mean())


@QUIET
@pytest.mark.parametrize("kind", ["clusters", "shared"])
def test_classes_that_count_more_are_predicted_more(kind):
    settings = {**classifier().settings, "specialists.kind": kind, "student.epochs": 20}
    settings |= {"student.batch_size": 32, "student.learning_rate": 0.02}
    if kind == "shared":
        settings |= {"specialists.shortlist": 4, "combination.whole_heads": [0.0]}
        settings = {k: v for k, v in settings.items() if k != "specialists.epochs"}
    heavy = np.isin(Y, ["a0", "b0", "c0", "d0"])
    model = classifier(settings=settings).fit(X, Y, np.where(heavy, 8.0, 1.0))
    plain = classifier(settings=settings).fit(X, Y)
    for name in ("generalist_", "ensemble_", "student_"):
        mass = [getattr(m, name).predict_proba(X)[:, ::3].sum(1).mean() for m in (model, plain)]
        assert mass[0] > mass[1] + 0.15, name
    stored = np.load(model._held.path("prepare-data", "train.weights.npy"))
    assert set(stored.tolist()) == {1.0, 8.0}
