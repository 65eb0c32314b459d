"""Any model's probabilities as the generalist, with no network behind them."""

import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict, cross_val_score
from test_estimator import NEW, SETTINGS, TRUTH, X, Y, classifier

import specialists
from specialists.errors import ConfigError, DataWarning, InputError

FREE = {k: v for k, v in SETTINGS.items() if not k.startswith("generalist.")}
FREE |= {"student.epochs": 20, "student.batch_size": 32, "student.learning_rate": 0.02}
FREE |= {"evaluation.n_bootstrap": 20, "student.alphas": [0.7], "combination.n": [1, 2]}
FOREST = RandomForestClassifier(30, random_state=0)
CROSS_FITTED: Any = cross_val_predict(FOREST, X, Y, cv=4, method="predict_proba")
FOREST.fit(X, Y)
OF_NEW: Any = FOREST.predict_proba(NEW)

pytestmark = pytest.mark.filterwarnings(
    "ignore::specialists.errors.CalibrationWarning",
    "ignore:specialists were not tested:specialists.errors.DataWarning",
)


@pytest.fixture(scope="module")
def taught():
    return classifier(settings=FREE).fit(X, Y, generalist_probs=CROSS_FITTED)


def test_a_forest_teaches_a_student_that_needs_it_no_more(taught):
    assert taught.student_.predict_proba(NEW).argmax(1).tolist()
    answered = pickle.loads(pickle.dumps(taught)).set_params(model="student")
    assert answered.score(NEW, TRUTH) > 0.5
    hard = json.loads(taught._held.path("distill-student", "trials.json").read_text())
    assert {trial["model"] for trial in hard} == {"student", "student_hard_labels"}


def test_the_ensemble_asks_the_forest_about_new_rows(taught):
    with pytest.raises(InputError, match="neither generalist_probs nor generalist"):
        taught.predict(NEW)
    with pytest.raises(InputError, match="no generalist_probs"):
        taught.ensemble_.predict_proba(NEW)
    found = taught.predict_proba(NEW, OF_NEW)
    alone = taught.generalist_.predict_proba(NEW, OF_NEW)
    assert (alone.argmax(1) == OF_NEW.argmax(1)).mean() > 0.9  # calibrated, otherwise the same
    refused = taught.choice_.admission.outcome == "refused"
    assert np.array_equal(found, alone) == refused
    assert np.allclose(np.exp(taught.predict_log_proba(NEW, OF_NEW)), found)
    again = pickle.loads(pickle.dumps(taught))
    assert np.array_equal(again.predict_proba(NEW, OF_NEW), found)
    with pytest.raises(InputError, match="a probability for each row and class"):
        taught.predict(NEW, OF_NEW[:3])
    with pytest.raises(InputError, match="these are no probabilities"):
        taught.predict(NEW, 2 * OF_NEW)


def test_what_nobody_knows_is_null(taught):
    choice = json.loads(taught._held.path("combine-predictions", "choice.json").read_text())
    assert choice["relative_cost"] is None
    assert choice["generalist"]["inference_flops"] is None
    assert np.isnan(taught.choice_.relative_cost)
    known = classifier(settings={**FREE, "generalist.inference_flops": 1e4})
    known.fit(X, Y, generalist_probs=CROSS_FITTED)
    assert known.choice_.generalist["inference_flops"] == 1e4
    assert known.choice_.relative_cost >= 1


def test_a_report_shows_it_without_rivals(taught, tmp_path):
    page = taught.report(tmp_path).read_text(encoding="utf-8")
    assert "student" in page
    models = json.loads((tmp_path / "evaluation.json").read_text())["models"]
    assert not any(name.startswith("generalist_") for name in models)
    assert models["generalist"]["inference_flops"] is None
    assert models["student"]["inference_flops"] > 0


def test_a_saved_one_needs_probabilities_too(taught, tmp_path):
    taught.save(tmp_path / "model")
    loaded = specialists.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(NEW, OF_NEW), taught.predict(NEW, OF_NEW))
    ensemble = specialists.load(tmp_path / "model", "ensemble")
    assert np.array_equal(ensemble.predict_proba(NEW, OF_NEW), taught.predict_proba(NEW, OF_NEW))


@pytest.mark.filterwarnings("ignore:the given predictions:specialists.errors.DataWarning")
def test_a_saved_one_says_that_its_generalist_is_not_in_the_folder(tmp_path):
    given = classifier(settings=FREE, generalist=FOREST).fit(X, Y)
    given.save(tmp_path / "model")
    loaded = specialists.load(tmp_path / "model")
    with pytest.raises(InputError, match=r"generalist_probs=(?s:.*)set_params\(generalist="):
        loaded.predict(NEW)
    assert np.array_equal(loaded.predict(NEW, OF_NEW), given.predict(NEW))
    loaded.set_params(generalist=FOREST)
    assert np.array_equal(loaded.predict(NEW), given.predict(NEW))
    assert len(loaded.set_params(generalist=None, model="student").predict(NEW)) == len(NEW)


def test_columns_are_mapped_by_their_names_or_refused(taught):
    backwards = pd.DataFrame(CROSS_FITTED, columns=FOREST.classes_).iloc[:, ::-1]
    mapped = classifier(settings=FREE).fit(X, Y, generalist_probs=backwards)
    assert np.array_equal(mapped.predict_proba(NEW, OF_NEW), taught.predict_proba(NEW, OF_NEW))
    frame = pd.DataFrame(OF_NEW, columns=FOREST.classes_).iloc[:, ::-1]
    assert np.array_equal(mapped.predict(NEW, frame), mapped.predict(NEW, OF_NEW))
    with pytest.raises(InputError, match="other classes than the data"):
        classifier().fit(X, Y, generalist_probs=backwards.rename(columns={"a0": "zebra"}))


@pytest.mark.filterwarnings("ignore:the given predictions:specialists.errors.DataWarning")
def test_a_fitted_estimator_or_a_function_is_asked(taught):
    given = classifier(settings=FREE, generalist=FOREST).fit(X, Y)
    assert given.predict(NEW).tolist() == given.predict(NEW, OF_NEW).tolist()
    assert given.score(NEW, TRUTH) > 0.5
    function = classifier(settings=FREE, generalist=FOREST.predict_proba).fit(X, Y)
    assert np.array_equal(function.predict_proba(NEW), given.predict_proba(NEW))
    for given in (3, RandomForestClassifier):
        with pytest.raises(InputError, match="this is no generalist"):
            classifier(settings=FREE, generalist=given).fit(X, Y)
    some = Y != "a0"
    fewer = RandomForestClassifier(5).fit(X[some], Y[some])
    with pytest.raises(InputError, match=r"other classes than the data(?s:.*)a0"):
        classifier(settings=FREE, generalist=fewer).fit(X, Y)


@pytest.mark.filterwarnings("ignore:all probabilities:specialists.errors.DataWarning")
def test_predictions_that_hardly_err_are_told():
    with pytest.warns(DataWarning, match=r"right on 100.0% of these rows"):
        classifier(settings=FREE).fit(
            X, Y, generalist_probs=(np.unique(Y) == Y[:, None]).astype(float)
        )


def test_predictions_that_are_decisions_are_told():
    decided = np.eye(12)[CROSS_FITTED.argmax(1)]
    with pytest.warns(DataWarning, match="all probabilities of the given predictions are 0 or 1"):
        classifier(settings=FREE).fit(X, Y, generalist_probs=decided)


@pytest.mark.filterwarnings("ignore:the given predictions:specialists.errors.DataWarning")
def test_classes_that_the_labels_lack_leave_their_probability_to_the_others():
    some = Y != "a0"
    with pytest.warns(DataWarning, match="does not hold, which are left out: a0"):
        fitted = classifier(settings=FREE, generalist=FOREST).fit(X[some], Y[some])
    assert "a0" not in fitted.classes_
    with pytest.warns(DataWarning, match="left out"):
        found = fitted.set_params(model="generalist").predict(NEW)
    kept = FOREST.classes_ != "a0"
    assert found.tolist() == FOREST.classes_[kept][OF_NEW[:, kept].argmax(1)].tolist()


def test_an_estimator_that_is_not_fitted_predicts_rows_that_it_has_not_seen():
    forest = RandomForestClassifier(30, random_state=0)
    given = classifier(settings=FREE, generalist=forest).fit(X, Y)
    assert not hasattr(forest, "classes_")
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    probs = cross_val_predict(forest, X, Y, cv=folds, method="predict_proba")
    expected = classifier(settings=FREE).fit(X, Y, generalist_probs=probs)
    found = [model.student_.predict_proba(NEW) for model in (given, expected)]
    assert np.array_equal(*found)
    found = pickle.loads(pickle.dumps(given)).predict_proba(NEW)
    assert np.array_equal(found, expected.predict_proba(NEW, OF_NEW))
    with pytest.raises(InputError, match="no class with two rows"):
        given.fit(X[:3], list("abc"))


def test_a_fitted_estimator_is_fitted_anew_to_the_rows_of_each_fold():
    scores = cross_val_score(classifier(settings=FREE, generalist=FOREST), X, Y, cv=2)
    assert scores.min() > 0.3


def test_an_estimator_is_fitted_to_weighted_rows():
    class Counted(RandomForestClassifier):
        def fit(self, X, y, sample_weight=None):  # noqa: N803
            seen.append(sample_weight)
            return super().fit(X, y, sample_weight)

    seen: list[Any] = []
    counts = 1.0 + np.arange(len(Y)) % 2
    classifier(settings=FREE, generalist=Counted(5, random_state=0)).fit(X, Y, counts)
    assert [len(some) for some in seen] == [len(Y) * 4 // 5] * 5 + [len(Y)]
    assert all(set(some) == {1.0, 2.0} for some in seen)


def test_probabilities_are_cut_with_the_rows_that_they_are_of():
    found = cross_val_score(
        classifier(settings=FREE, model="student"),
        X,
        Y,
        cv=2,
        params={"generalist_probs": CROSS_FITTED},
    )
    assert found.min() > 0.3


@pytest.mark.parametrize(
    "more",
    [
        {"specialists.start": "generalist"},
        {"student.teacher": "online"},
        {"student.views": 2},
        {"student.unlabelled": "more.npy"},
    ],
)
def test_what_needs_its_network_is_refused(more):
    with pytest.raises(ConfigError, match="no network"):
        classifier(settings={**FREE, **more}).fit(X, Y, generalist_probs=CROSS_FITTED)


def test_rows_that_the_model_was_fitted_on_are_told():
    with pytest.warns(DataWarning, match="Cross-fitted ones tell"):
        classifier(settings=FREE, generalist=FOREST).fit(X, Y, validation_data=(NEW, TRUTH))


def test_rows_of_weight_zero_take_their_predictions_with_them(taught):
    more, labels = np.concatenate([NEW, X]), np.concatenate([TRUTH, Y])
    weights = np.repeat([0.0, 1.0], [len(NEW), len(X)])
    probs = np.concatenate([OF_NEW, CROSS_FITTED])
    model = classifier(settings=FREE).fit(more, labels, weights, generalist_probs=probs)
    assert np.array_equal(model.predict_proba(NEW, OF_NEW), taught.predict_proba(NEW, OF_NEW))
