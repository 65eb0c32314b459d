"""A random forest's probabilities of digits reach a student and a report."""

import json
import re
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict
from typer.testing import CliRunner

from pipelines.__main__ import app
from specialists import SpecialistClassifier
from specialists.config import Config
from specialists.errors import DataWarning
from specialists.feasibility import check_settings

DIGITS: Any = load_digits()
X, Y = DIGITS.data[:700].astype(np.float32), DIGITS.target[:700]
NEW, TRUTH = DIGITS.data[700:760].astype(np.float32), DIGITS.target[700:760]
FOREST = RandomForestClassifier(30, random_state=0)
PROBS: Any = cross_val_predict(FOREST, X, Y, cv=3, method="predict_proba")
FOREST.fit(X, Y)
OF_NEW: Any = FOREST.predict_proba(NEW)
SETTINGS = {
    **{"device": "cpu", "precision": "float32", "threads": 1, "jobs": 1},
    **{"clusters.n_clusters": 3, "specialists.epochs": 3, "combination.n": [1]},
    **{"student.epochs": 25, "student.batch_size": 32, "student.learning_rate": 0.01},
    **{"student.alphas": [0.7], "student.temperatures": [1.0], "evaluation.n_bootstrap": 20},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::specialists.errors.CalibrationWarning"),
    pytest.mark.filterwarnings("ignore:specialists were not tested"),
]


def command(*arguments: object, fails: bool = False) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert bool(done.exit_code) == fails, done.output
    return done.output if fails else done.stdout


def run_command(folder, probs, *more: str, fails: bool = False) -> str:
    np.save(folder / "probs.npy", probs)
    np.savez(folder / "digits.npz", x=X, y=Y)
    sources = {"data.arrays": folder / "digits.npz", "generalist.predictions": folder / "probs.npy"}
    settings = {**{key: json.dumps(value) for key, value in SETTINGS.items()}, **sources}
    given = [f"--set={key}={value}" for key, value in settings.items()]
    return command("run", *given, *more, "--out", folder / "run", fails=fails)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    out = run_command(folder, PROBS, "--set=generalist.classes=" + json.dumps(list(range(10))))
    assert "no network to train again" in out
    assert "--generalist-probs" in out or "--model student" in out
    np.save(folder / "new.npy", NEW)
    np.save(folder / "new-probs.npy", OF_NEW)
    return folder


def predicted(folder, model, *more: object) -> np.ndarray:
    table = command("predict", folder / "run", folder / "new.npy", "--model", model, *more)
    rows = [line.split("\t") for line in table.splitlines()[1:]]
    return np.array([int(row[3]) for row in rows if row[2] == "1"])


def test_from_a_file_they_reach_a_student_that_needs_them_no_more(folder):
    assert (predicted(folder, "student") == TRUTH).mean() > 0.8
    models = json.loads((folder / "run" / "evaluation.json").read_text())["models"]
    assert models["student"]["top1"] > 0.8
    assert models["student"]["inference_flops"] > 0
    assert models["generalist"]["inference_flops"] is None
    assert not any(name.startswith("generalist_") for name in models)


def test_the_report_is_whole_without_costs(folder):
    page = (folder / "run" / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<(script|style|svg).*?</\1>", "", page, flags=re.DOTALL)
    assert "No baseline can be trained" in text
    assert "generalist.predictions" in text
    assert not re.search(r"\bnan\b|None|inf\b", text)


def test_new_rows_need_their_probabilities(folder):
    probs = ("--generalist-probs", folder / "new-probs.npy")
    generalist = predicted(folder, "generalist", *probs)
    assert (generalist == OF_NEW.argmax(1)).all()
    assert (predicted(folder, "ensemble", *probs) == TRUTH).mean() > 0.8
    one = ("predict", folder / "run", folder / "new.npy")
    assert "--generalist-probs FILE" in command(*one, "--model", "ensemble", fails=True)
    assert "asks no generalist" in command(*one, *probs, fails=True)


def test_in_memory_they_reach_a_student_and_a_report(tmp_path):
    classifier = SpecialistClassifier(settings=SETTINGS, random_state=0, model="student")
    classifier.fit(X, Y, generalist_probs=PROBS)
    assert classifier.score(NEW, TRUTH) > 0.8
    generalist = classifier.set_params(model="generalist")
    right = (OF_NEW.argmax(1) == TRUTH).mean()
    assert generalist.score(NEW, TRUTH, generalist_probs=OF_NEW) == pytest.approx(right)
    page = classifier.report(tmp_path).read_text(encoding="utf-8")
    assert "student" in page


def test_a_generalist_of_predictions_teaches_a_student_of_another_folder(folder):
    teacher = ("--teacher", folder / "run", "--model", "generalist")
    command("distill", *teacher, "--out", folder / "student")
    table = command("predict", folder / "student", folder / "new.npy", "--top", 1)
    found = [int(line.split("\t")[3]) for line in table.splitlines()[1:]]
    assert (np.array(found) == TRUTH).mean() > 0.8
    lacking = ("--set=generalist.predictions=", "--set=generalist.classes=")
    told = command("distill", *teacher, "--out", folder / "other", *lacking, fails=True)
    assert "only predictions are known" in told


def test_cross_fitted_clusters_are_of_the_given_training_rows(tmp_path):
    cross_fitted = "--set=clusters.predictions=cross-fitted"
    run_command(tmp_path, PROBS, cross_fitted, "--until=cluster-classes")
    folder = tmp_path / "run" / "cluster-classes"
    assert json.loads((folder / "costs.json").read_text())["trainings"] == []
    covariance = np.load(folder / "covariance.npy")
    assert covariance.shape == (10, 10)
    train = np.load(tmp_path / "run" / "prepare-data" / "train.rows.npy")
    raw = np.cov(PROBS[train].T, bias=True)
    assert np.corrcoef(covariance.ravel(), raw.ravel())[0, 1] > 0.95


def test_other_probabilities_make_the_data_stale_and_those_known_by_heart_are_told(tmp_path):
    run_command(tmp_path, PROBS, "--until=prepare-data")
    known, train = PROBS.copy(), np.load(tmp_path / "run" / "prepare-data" / "train.rows.npy")
    known[train] = np.eye(10)[Y[train]]
    with pytest.warns(DataWarning, match="Cross-fitted ones tell"):
        out = run_command(tmp_path, known, "--until=prepare-data")
    assert "prepare-data: stale" in out
    assert "generalist.predictions" in out


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("specialists.start", "generalist", "no network"),
        ("specialists.freeze", ["embedding"], "no network"),
        ("student.teacher", "online", "no network"),
        ("student.unlabelled", __file__, "no network"),
        ("evaluation.baselines", ["generalist_wide"], "no network"),
        ("evaluation.keep_rivals", True, "no network"),
        ("generalist.epochs", 3, "taken as they are"),
        ("generalist.weights", __file__, "come in their place"),
    ],
)
def test_what_needs_its_network_is_refused(key, value, told):
    section, name = key.split(".")
    values = {"data": {"table": __file__}, "generalist": {"predictions": __file__}}
    values.setdefault(section, {})[name] = value
    with pytest.raises(ValueError, match=rf"{key} = .* is of no use: .*{told}"):
        check_settings(Config.from_dict(values))


def test_specialists_start_afresh():
    given = {"predictions": __file__, "inference_flops": 1e6, "classes": ["a", "b"]}
    config = Config.from_dict({"data": {"name": "languages"}, "generalist": given})
    check_settings(config)
    specialists = config.resolve("text").specialists
    assert (specialists.start, specialists.freeze) == ("fresh", ())
