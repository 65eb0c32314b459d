"""Which recipes a student's search tries, for how long, and what it refuses."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from sklearn.utils import check_random_state

from pipelines.estimator_settings import config_of
from specialists.config import Config, StudentConfig, list_settings, student_candidates
from specialists.distillation import (
    HARD_TRIALS,
    best_first,
    halving_rungs,
    hard_trials,
    soft_trials,
    store_temperatures,
)
from specialists.errors import ConfigError, InputError
from specialists.feasibility import DataShape, check_settings
from specialists.feasibility.trainings import STUDENTS, planned_trainings
from specialists.training import FitResult, TrainingCost

SHAPE = DataShape("features", 12, 480, 120, (6,))
TABLE = {"data": {"arrays": "x.npz"}, "generalist": {"width": 12}}


def config(tuning, **student) -> Config:
    return Config.from_dict({**TABLE, "student": {"tuning": tuning, **student}})


def recipes(search, n=None, seed=0, **student) -> list[StudentConfig]:
    settings = config({"search": search, "candidates": n}, **student).resolve("features").student
    return student_candidates(settings, seed)


@pytest.mark.parametrize(
    ("n", "eta", "most", "expected"),
    [
        (9, 3, None, [(9, 1 / 9), (3, 1 / 3), (1, 1)]),
        (8, 3, None, [(8, 1 / 3), (2, 1)]),
        (2, 3, None, [(2, 1)]),
        (8, 2, None, [(8, 1 / 8), (4, 1 / 4), (2, 1 / 2), (1, 1)]),
        (243, 3, None, [(243, 3**-5), (81, 3**-4), (27, 1 / 27), (9, 1 / 9), (3, 1 / 3), (1, 1)]),
        (8, 2, 2, [(8, 1 / 2), (4, 1)]),
        (8, 2, 1, [(8, 1)]),
    ],
)
def test_each_rung_has_one_of_eta_candidates_for_eta_times_as_long(n, eta, most, expected):
    rungs = halving_rungs(n, eta, most)
    assert [(rung.n, rung.share) for rung in rungs] == [(k, pytest.approx(s)) for k, s in expected]
    assert [rung.number for rung in rungs] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(("n", "eta"), [(0, 3), (9, 1)])
def test_what_cannot_be_halved_is_refused(n, eta):
    with pytest.raises(InputError, match="cannot be halved"):
        halving_rungs(n, eta)


def test_candidates_are_ranked_by_one_score_and_equal_ones_by_the_other():
    nan, inf = float("nan"), float("inf")
    scores = [(0.9, nan), (nan, 0.1), (0.9, inf), (0.5, 1.0), (0.7, 2.0), (0.7, 1.5), (0.0, 9.0)]
    results = [FitResult(1, loss, top1, TrainingCost()) for top1, loss in scores]
    assert best_first(results) == [5, 4, 3, 6, 0, 1, 2]
    assert best_first(results, "loss") == [3, 5, 4, 6, 0, 1, 2]
    twins = [results[i] for i in (5, 3, 5, 4, 3)]
    assert best_first(twins) == [0, 2, 3, 1, 4]  # of equals the first
    as_sure = [FitResult(1, 1.0, top1, TrainingCost()) for top1 in (0.5, 0.7)]
    assert best_first(as_sure, "loss") == [1, 0]


def test_a_candidate_is_a_section_of_its_own_for_each_combination():
    search = {"learning_rate": [0.001, 0.01], "size": [1, 0.25], "teacher": ["offline", "online"]}
    found = recipes(search, temperatures=[1.0, 4.0], alphas=[0.5])
    assert len({c.model_dump_json() for c in found}) == len(found) == 2 * 2 * 2 * 2
    assert soft_trials(found[-1]) == [(4.0, 0.5)]
    assert (found[-1].learning_rate, found[-1].size, found[-1].teacher) == (0.01, 0.25, "online")
    assert found[0].tuning is None
    assert found[0].epochs == 30  # of features


def test_settings_of_terms_are_searched_by_their_place():
    terms = [{"kind": "soft_targets", "temperature": 1.0}, {"kind": "labels"}]
    search = {"terms.0.temperature": [1.0, 4.0], "terms.1.weight": [0.1, 0.5]}
    found = recipes(search, terms=terms)
    assert [(c.terms[0]["temperature"], c.terms[1]["weight"]) for c in found] == [
        *((1.0, 0.1), (1.0, 0.5), (4.0, 0.1), (4.0, 0.5))
    ]
    settings = config({"search": search}, terms=terms).student
    assert store_temperatures(settings, 0) == (1.0, 4.0)
    assert dict(settings.terms[1]) == {"kind": "labels"}  # the section itself is as it was


def test_some_combinations_are_drawn_by_the_seed():
    search = {"learning_rate": [0.001 * i for i in range(1, 21)]}
    drawn = [recipes(search, 7, seed) for seed in (0, 0, 1)]
    assert [len(some) for some in drawn] == [7, 7, 7]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({c.model_dump_json() for c in drawn[0]}) == 7
    assert len(recipes(search, 1000)) == 20 * 4


def test_hard_labels_have_as_many_recipes_of_the_same_lengths_all_different():
    search = {"epochs": [10, 20], "learning_rate": [0.002, 0.004], "label_smoothing": [0.0, 0.1]}
    soft = recipes(search, temperatures=[1.0, 4.0], alphas=[0.5])
    hard = hard_trials(soft, passes=2.0)
    assert len(hard) == len(soft)
    assert len({recipe.model_dump_json() for recipe in hard}) == len(hard)
    assert [recipe.epochs for recipe in hard] == [2 * (each.epochs or 0) for each in soft]


def test_without_a_search_hard_labels_have_the_trials_that_they_had():
    settings = Config.from_dict({**TABLE, "student": {"alphas": [0.5, 0.7, 1.0]}})
    soft = student_candidates(settings.resolve("features").student, 0)
    found = [(h.learning_rate, h.label_smoothing) for h in hard_trials(soft)]
    assert found == [(rate * 4e-3, smoothing) for rate, smoothing in HARD_TRIALS[:6]]


def test_too_many_candidates_of_one_recipe_are_refused():
    temperatures = [float(t) for t in range(1, 29)]
    settings = config({}, temperatures=temperatures, alphas=[0.5])
    with pytest.raises(InputError, match="28 candidates"):
        hard_trials(student_candidates(settings.resolve("features").student, 0))
    with pytest.raises(ConfigError, match="as many trials as soft targets"):
        check_settings(settings, SHAPE)


@pytest.mark.parametrize(
    ("tuning", "student", "message"),
    [
        ({"search": {"rate": [1.0]}}, {}, "tuning.search.rate: can be searched: epochs"),
        ({"search": {"epoch": [1]}}, {}, "did you mean `epochs`"),
        ({"search": {"epochs": [1, 0]}}, {}, r"search\.epochs = 0: .*greater than or equal to 1"),
        ({"search": {"epochs": 3}}, {}, r"a list of candidates is needed, for instance \[3\]"),
        ({"search": {"epochs": []}}, {}, "at least 1 item"),
        ({"search": {"epochs": [2, 2]}}, {}, "2 is given twice"),
        ({"search": {"epochs": [[2]]}}, {}, r"\[2\] is neither a number nor a string"),
        ({"search": {"temperature": [1.0]}}, {}, "its candidates are student.temperatures"),
        ({"search": {"terms.1.weight": [1.0]}}, {"terms": [{"kind": "labels"}]}, "has 1 term,"),
        ({"search": {"teacher": ["online"]}}, {"views": 2}, "student.views stores"),
        ({"search": {"epochs": list(range(1, 1002))}}, {"alphas": [1.0]}, "2,002 combinations"),
        ({"search": {"epochs": list(range(1, 123))}}, {"alphas": [1.0]}, "244 candidates, at most"),
        ({"eta": 1}, {}, "eta = 1"),
        ({"etta": 2}, {}, "unknown key `student.tuning.etta`; did you mean `student.tuning.eta`"),
        (3, {}, "student.tuning = 3"),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_one_message(tuning, student, message):
    with pytest.raises(ConfigError, match=message):
        config(tuning, **student)


@pytest.mark.parametrize(
    ("search", "student", "message"),
    [
        ({"epochs": [5, 10]}, {"epochs": 3}, "student.epochs = 3 is of no use: .*has its cand"),
        ({"label_smoothing": [0.1]}, {"alphas": [1.0]}, "label_smoothing: it is of labels"),
        ({"size": [0.5, 1.0]}, {"width": 8}, "size: student.width fixes the width"),
        ({"terms.0.temperature": [1.0, 0.0]}, {"terms": [{"kind": "soft_targets"}]}, "temperature"),
        ({"terms.0.heat": [1.0]}, {"terms": [{"kind": "labels"}]}, "heat"),
        ({"size": [0.5, 900.0]}, {}, "size 900"),
    ],
)
def test_a_search_without_effect_or_sense_is_told_before_a_training(search, student, message):
    settings = config({"search": search}, **student)
    shape = DataShape("features", 10**6, 480, 120, (600,)) if "900" in message else SHAPE
    with pytest.raises(ConfigError, match=message):
        check_settings(settings, shape)


def test_what_has_an_effect_for_one_of_the_candidates_is_no_mistake():
    check_settings(config({"search": {"label_smoothing": [0.0, 0.1]}}), SHAPE)
    check_settings(config({}, alphas=[0.0, 0.5], temperatures=[4.0]), SHAPE)


def test_a_search_is_written_and_read_back_and_set_key_by_key(tmp_path):
    keys = ["student.tuning.search.epochs=[2, 4]", "student.tuning.eta=2", "data.name=languages"]
    given = Config.from_toml(None, keys)
    assert given.student.tuning is not None
    assert (given.student.tuning.search, given.student.tuning.eta) == ({"epochs": (2, 4)}, 2)
    (tmp_path / "again.toml").write_text(given.to_toml())
    assert Config.from_toml(tmp_path / "again.toml") == given
    (listed,) = (s for s in list_settings("student") if s.key == "student.tuning.eta")
    assert listed.default == 3


def test_the_estimator_takes_a_search_as_one_setting_or_key_by_key():
    whole = {"student.tuning": {"search": {"epochs": [2, 4]}, "eta": 2}}
    parts = {"student.tuning.search": {"epochs": [2, 4]}, "student.tuning.eta": 2}
    given = dict.fromkeys(("network", "clusters", "random_state", "n_jobs"))
    found = [
        config_of(SimpleNamespace(**given, settings=settings), check_random_state)  # pyright: ignore
        for settings in (whole, parts, {**whole, "student.tuning.rungs": 1})
    ]
    assert found[0].student == found[1].student
    assert found[2].student.tuning.rungs == 1  # pyright: ignore[reportOptionalMemberAccess]
    assert "rungs" not in whole["student.tuning"]
    wrong = SimpleNamespace(**given, settings={"seed": 1, "seed.x": 2})
    with pytest.raises(ConfigError, match="not a section"):
        config_of(wrong, check_random_state)  # pyright: ignore


def test_a_forecast_counts_every_rung_of_both_kinds():
    search = {"epochs": [9, 27], "size": [0.25, 1.0]}
    settings = config({"search": search}, temperatures=[1.0, 2.0, 4.0], alphas=[0.5])
    plans = planned_trainings(settings.resolve("features"), SHAPE)
    students = [plan for plan in plans if plan.kind == STUDENTS]
    assert len({json.dumps(plan.spec.to_dict()) for plan in students}) == len(students) == 2
    assert sum(plan.n for plan in students) == 2 * (12 + 4 + 1)
    whole = 12 / 9 + 4 / 3 + 1  # trainings in full; which of them are the long ones is not known
    seen = sum(plan.n * plan.examples for plan in students)
    assert seen == pytest.approx(2 * whole * 480 * (9 + 27) / 2)
    assert Counter(plan.fewest < plan.examples for plan in students) == {True: 2}
