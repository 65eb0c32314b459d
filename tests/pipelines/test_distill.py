"""Teachers and one student, from one command."""

import json
import shutil
from typing import Any, cast

import numpy as np
import pytest
import small_run
from typer.testing import CliRunner

import specialists
from pipelines import stages, student_task, teacher_source
from pipelines.__main__ import app
from pipelines.runs import Run
from specialists.files import read_json, sha256
from specialists.predictions import StoredPredictions


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Run:
    """A run with a student of its own."""
    run = small_run.make_run(tmp_path_factory.mktemp("teacher") / "run")
    stages.run_stages(run, "distill-student")
    return run


def distill(*arguments) -> str:
    """What the command prints."""
    return CliRunner().invoke(app, ["distill", "--jobs=1", *map(str, arguments)]).output


def test_the_student_of_an_ensemble_is_that_of_its_run(teacher, tmp_path):
    as_there = ["--set", f"data.admission_fraction={teacher.config.data.admission_fraction}"]
    distill("--teacher", teacher.folder, "--out", tmp_path / "out", *as_there)
    for name in ("student", "student_hard_labels"):
        ours, theirs = tmp_path / "out" / "distill" / name, teacher.path("distill-student", name)
        assert sha256(ours / "weights.safetensors") == sha256(theirs / "weights.safetensors")
    x = small_run.features(2, 9)[0]
    probs = specialists.load(tmp_path / "out" / "distill" / "student").predict_proba(x)
    np.testing.assert_array_equal(probs, specialists.load(teacher.folder).predict_proba(x))
    np.testing.assert_array_equal(probs, specialists.load(tmp_path / "out").predict_proba(x))


def test_a_command_that_was_killed_goes_on_and_ends_the_same(teacher, tmp_path, monkeypatch):
    save, trials = student_task.save_classifier, tmp_path / "out" / "distill" / "trials"
    as_there = f"--set=data.admission_fraction={teacher.config.data.admission_fraction}"
    arguments = ["--teacher", teacher.folder, "--out", tmp_path / "out", as_there]

    def killed(*arguments):
        if (trials / "soft-0" / "manifest.json").exists():
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(student_task, "save_classifier", killed)
    distill(*arguments)
    monkeypatch.undo()
    (first,) = trials.rglob("weights.safetensors")
    written = first.stat().st_mtime_ns
    assert "distill: goes on where it was interrupted" in distill(*arguments)
    assert first.stat().st_mtime_ns == written
    ours, theirs = (path / "student" for path in (trials.parent, teacher.path("distill-student")))
    assert sha256(ours / "weights.safetensors") == sha256(theirs / "weights.safetensors")


def test_a_models_folder_teaches_and_what_holds_is_not_made_again(teacher, tmp_path):
    folder, out = teacher.path("train-generalist"), tmp_path / "out"
    data = f"data.arrays={teacher.config.data.arrays}"
    settings = [data, "seed=5", "data.augment=false", "student.width=4", "student.epochs=2"]
    arguments = ["--teacher", folder, "--out", out, *(f"--set={one}" for one in settings)]
    distill(*arguments)
    x = np.load(str(teacher.config.data.arrays))["x_train"]
    rows = StoredPredictions(out / "distill" / "targets").dense().float().exp()
    expected = specialists.load(folder).predict_proba(x)
    np.testing.assert_allclose(rows, expected, atol=2e-3)
    assert len(read_json(out / "distill" / "trials.json")) == 2 * 4
    assert "distill: done already, skipped" in distill(*arguments)
    other = ["--teacher", teacher.folder, "--model", "generalist"]
    assert "distill: stale" in distill(*other, *arguments[2:])


def test_a_folder_of_a_student_says_how_far_it_has_come(teacher, predicted, tmp_path):
    file, settings = predicted
    run = Run(tmp_path / "out")
    distill("--teacher", file, "--out", run.folder, *settings)
    shown = CliRunner().invoke(app, ["status", str(run.folder)]).output
    rows = [line.split() for line in shown.splitlines() if " done" in line]
    assert rows == [[name, "done"] for name in ("prepare-data", "train-generalist", "distill")]
    assert "missing" not in shown
    run.path("distill", "student", "weights.safetensors").unlink()
    values = json.loads(CliRunner().invoke(app, ["status", str(run.folder), "--json"]).output)
    assert values["stages"][-1]["why"] == "output student/weights.safetensors is gone"


def test_several_teachers_are_averaged_by_their_weights(teacher, tmp_path):
    folders = teacher.path("train-generalist"), teacher.path("distill-student", "student")
    given = [f"--teacher={folder}" for folder in folders]
    data = f"data.arrays={teacher.config.data.arrays}"
    settings = [data, "seed=5", "data.augment=false", "student.width=4", "student.epochs=2"]
    settings += ["student.temperatures=[1.0]", "student.alphas=[1.0]"]
    out = tmp_path / "out"
    arguments = [*given, "--out", out, *(f"--set={one}" for one in settings)]
    distill(*arguments, "--weight=3", "--weight=1", "--mean=geometric")
    x = np.load(str(teacher.config.data.arrays))["x_train"]
    logs = [specialists.load(folder).predict_log_proba(x) for folder in folders]
    expected = np.exp(0.75 * logs[0] + 0.25 * logs[1])
    expected /= expected.sum(1, keepdims=True)
    rows = StoredPredictions(out / "distill" / "targets").dense().float().exp()
    np.testing.assert_allclose(rows, expected, atol=2e-3)
    assert "distill: stale" in distill(*arguments, "--weight=3", "--weight=1")
    assert "1 weights for 2 teachers" in distill(*arguments, "--weight=3")


def test_a_rival_that_was_not_trained_cannot_teach(teacher, tmp_path):
    shown = distill(
        "--teacher", teacher.folder, "--model=generalist_ensemble", "--out", tmp_path / "out"
    )
    assert "evaluate-models" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_an_ensemble_leaves_no_folder_of_a_student(teacher, tmp_path):
    shutil.copytree(teacher.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "combine-predictions")
    shown = distill("--teacher", tmp_path / "run", "--out", tmp_path / "out")
    assert "there is no trained ensemble here" in shown
    assert not (tmp_path / "out").exists()


def test_a_teacher_that_is_not_there_changes_nothing_of_a_run_that_is(teacher, tmp_path):
    run = shutil.copytree(teacher.folder, tmp_path / "run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    distill("--teacher", teacher.folder, "--model=student", "--out", tmp_path / "student")
    shown = distill("--teacher", tmp_path / "student", "--out", run, "--set=seed=6")
    assert "there is no trained ensemble here" in shown
    assert "to mend it: name its student: --model student" in shown
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_a_student_does_not_replace_the_settings_of_a_whole_run(teacher, tmp_path):
    run = shutil.copytree(teacher.folder, tmp_path / "run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert "the folder of a whole run" in distill("--teacher", teacher.folder, "--out", run)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_a_models_folder_needs_data(teacher, tmp_path):
    shown = distill("--teacher", teacher.path("train-generalist"), "--out", tmp_path / "out")
    assert "a model does not say which data its student learns from" in shown
    assert not (tmp_path / "out").exists()


def test_a_teacher_is_loaded_once(teacher, predicted, tmp_path, monkeypatch):
    load, loaded = teacher_source.load, []

    def counted(folder, *of_model):
        loaded.append(folder)
        return load(folder, *of_model)

    monkeypatch.setattr(teacher_source, "load", counted)
    folder = teacher.path("train-generalist")
    distill("--teacher", folder, "--out", tmp_path / "out", *predicted[1])
    assert (tmp_path / "out" / "distill" / "student").is_dir()
    assert loaded == [folder]


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_a_weight_that_makes_no_sense_leaves_no_folder_of_a_student(teacher, tmp_path, weight):
    shown = distill("--teacher", teacher.folder, f"--weight={weight}", "--out", tmp_path / "out")
    assert "the weight of a teacher is > 0" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["distill", "examine"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_model_is_named_of_a_run_alone(teacher, predicted, tmp_path, command, kind):
    path = predicted[0] if kind == "file" else teacher.path("train-generalist")
    given = ["--teacher", path, "--model=ensemble"]
    if command == "distill":
        shown = distill(*given, "--out", tmp_path / "out", *predicted[1])
    else:
        shown = examined(teacher.folder, *given)
    assert "--model has no effect: it is one of a run's models" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--weight=2", "--mean=arithmetic"])
def test_one_teacher_is_not_averaged(teacher, tmp_path, option):
    shown = distill("--teacher", teacher.folder, option, "--out", tmp_path / "out")
    assert f"{option.partition('=')[0]} has no effect: one teacher is not averaged" in shown
    assert not (tmp_path / "out").exists()


def test_settings_of_specialists_have_no_effect_on_a_student(teacher, tmp_path):
    idle = ["--set=clusters.n_clusters=4", "--set", "specialists.width = 8", "--set=clean=true"]
    shown = distill("--teacher", teacher.folder, *idle, "--out", tmp_path / "out")
    assert "no effect" in shown
    assert "got: clusters.n_clusters, specialists.width, clean" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("path", [".", "train-generalist"])
def test_settings_of_a_generalist_have_no_effect_beside_a_trained_teacher(teacher, tmp_path, path):
    idle = ["--set=generalist.epochs=9", "--set", "generalist.width = 8", "--set=generalist.depth="]
    shown = distill("--teacher", teacher.folder / path, *idle, "--out", tmp_path / "out")
    assert "these settings have no effect: the teachers are trained already" in shown
    assert "got: generalist.epochs, generalist.width\n" in shown
    assert not (tmp_path / "out").exists()


@pytest.fixture
def predicted(teacher, tmp_path):
    """A file of the generalist's probabilities for the rows of the data, and settings of these."""
    arrays = np.load(str(teacher.config.data.arrays))
    asked = specialists.load(teacher.folder, model="generalist").predict_proba
    names = specialists.load(teacher.folder).class_names
    splits = ("train", "validation", "test")
    probs = {split: asked(arrays[f"x_{split}"]) for split in splits}
    np.savez(tmp_path / "probs.npz", **cast(Any, probs), classes=np.array(names))
    data = f"data.arrays={teacher.config.data.arrays}"
    settings = [data, "seed=5", "data.augment=false", "student.width=4", "student.epochs=2"]
    return tmp_path / "probs.npz", [f"--set={one}" for one in settings]


def test_a_file_of_predictions_teaches(teacher, predicted, tmp_path):
    file, settings = predicted
    arguments = ["--teacher", file, "--out", tmp_path / "out", *settings]
    assert "the student: " in distill(*arguments)
    rows = StoredPredictions(tmp_path / "out" / "distill" / "targets").dense().float().exp()
    np.testing.assert_allclose(rows, np.load(file)["train"], atol=2e-3)
    x = small_run.features(2, 9)[0]
    probs = specialists.load(tmp_path / "out" / "distill" / "student").predict_proba(x)
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    assert "distill: done already, skipped" in distill(*arguments)
    found = json.loads(examined(tmp_path / "out", "--teacher", file, "--json"))
    said = np.load(file)["classes"][np.load(file)["test"].argmax(1)]
    right = said == np.load(str(teacher.config.data.arrays))["y_test"].astype(str)
    assert found["models"][0]["top1"] == pytest.approx(right.mean())
    assert "this is not the file" in examined(teacher.folder, "--teacher", file)
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "train": arrays["train"][:, ::-1]})
    assert "distill: stale" in distill(*arguments)


def test_a_file_teaches_beside_a_run(teacher, predicted, tmp_path):
    file, settings = predicted
    folder = teacher.path("distill-student", "student")
    given = ["--teacher", file, "--teacher", folder]
    distill(*given, "--weight=3", "--weight=1", "--out", tmp_path / "out", *settings)
    x = np.load(str(teacher.config.data.arrays))["x_train"]
    expected = 0.75 * np.load(file)["train"] + 0.25 * specialists.load(folder).predict_proba(x)
    rows = StoredPredictions(tmp_path / "out" / "distill" / "targets").dense().float().exp()
    np.testing.assert_allclose(rows, expected, atol=2e-3)
    given = ["--teacher", teacher.folder, "--teacher", file]  # whose settings are of a generalist
    assert "the student: " in distill(*given, "--out", tmp_path / "other")


def test_two_files_of_predictions_are_refused(predicted, tmp_path):
    file, settings = predicted
    given = ["--teacher", file, "--teacher", file]
    shown = distill(*given, "--out", tmp_path / "out", *settings)
    assert "one file of predictions at most" in " ".join(shown.split())
    assert not (tmp_path / "out").exists()


def test_a_file_that_holds_no_predictions_is_refused(predicted, tmp_path):
    (tmp_path / "notes.npz").write_text("no array")
    shown = distill("--teacher", tmp_path / "notes.npz", "--out", tmp_path / "out", *predicted[1])
    assert "notes.npz" in shown
    assert ".npy, .npz or .parquet" in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out" / "distill").exists()


def test_a_file_of_predictions_needs_its_data(predicted):
    assert "does not say of which data" in distill("--teacher", predicted[0])


def test_a_second_file_among_the_settings_is_refused(predicted, tmp_path):
    file, settings = predicted
    given = ["--teacher", file, *settings, "--set=generalist.predictions=other.npz"]
    shown = " ".join(distill(*given, "--out", tmp_path / "out").split())
    assert "one file of predictions at most" in shown
    assert "other.npz" in shown
    assert not (tmp_path / "out").exists()


def test_a_file_has_no_layers_to_look_at(predicted, tmp_path):
    file, settings = predicted
    terms = "--set=student.terms=[{kind='soft_targets'}, {kind='hint', layer='relu1'}]"
    shown = distill("--teacher", file, "--out", tmp_path / "out", *settings, terms)
    told = "student.terms.1 (hint): it looks at layers of a teacher; generalist.predictions"
    assert told in " ".join(shown.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["distill", "examine"])
def test_a_teacher_that_is_not_there_may_have_been_a_file(predicted, teacher, tmp_path, command):
    missing = ["--teacher", tmp_path / "missing.npz"]
    shown = (
        distill(*missing, *predicted[1])
        if command == "distill"
        else examined(teacher.folder, *missing)
    )
    assert "no such teacher" in shown
    assert "file of predictions" in shown


def test_a_mistake_names_no_setting_that_the_user_did_not_give(predicted, tmp_path):
    file, settings = predicted
    shown = distill("--teacher", file, "--out", tmp_path / "out", *settings, "--set=student.size=x")
    assert "--set student.size=x" in " ".join(shown.split())
    assert "admission_fraction" not in shown
    assert "generalist." not in shown


def test_status_of_students_does_not_wait_for_what_another_teacher_left(
    teacher, predicted, tmp_path
):
    (file, settings), out = predicted, ["--out", tmp_path / "out"]
    for by in (["--teacher", file], ["--teacher", teacher.folder, "--model=generalist"]):
        distill(*by, *out, *settings)
    assert "distill: done already" in distill(*by, *out, *settings)
    shown = CliRunner().invoke(app, ["status", str(tmp_path / "out"), "--json"]).output
    states = {row["stage"]: row["state"] for row in json.loads(shown)["stages"]}
    assert states == {"prepare-data": "done", "train-generalist": "stale", "distill": "done"}


def test_a_file_may_be_called_a_number(predicted, tmp_path, monkeypatch):
    file, settings = predicted
    monkeypatch.chdir(tmp_path)
    file.rename("2024")
    assert "the student: " in distill("--teacher=2024", "--out=out", *settings)


def test_names_of_a_networks_outputs_are_not_those_of_a_files_columns(teacher, predicted, tmp_path):
    file, _ = predicted
    folder = shutil.copytree(teacher.folder, tmp_path / "run")
    names = np.load(file)["classes"][::-1].tolist()
    config = (folder / "config.toml").read_text()
    weights = folder / "train-generalist" / "weights.safetensors"
    told = f'[generalist]\nweights = "{weights}"\nclasses = {json.dumps(names)}\n'
    (folder / "config.toml").write_text(config.replace("[generalist]\n", told))
    distill("--teacher", folder, "--model=student", "--teacher", file, "--out", tmp_path / "out")
    taught = np.load(tmp_path / "out" / "prepare-data" / "train.predictions.npy")
    np.testing.assert_allclose(np.exp(taught), np.load(file)["train"], atol=1e-5)


def test_a_generalist_of_one_file_is_not_asked_by_another(predicted, tmp_path):
    file, settings = predicted
    made = tmp_path / "made"
    distill("--teacher", file, "--out", made, *settings)
    arrays = dict(np.load(file))
    np.savez(tmp_path / "other.npz", **{**arrays, "train": arrays["train"][:, ::-1]})
    given = ["--teacher", made, "--model=generalist", "--teacher"]
    shown = distill(*given, tmp_path / "other.npz", "--out", tmp_path / "out")
    assert "those of another teacher" in " ".join(shown.split())
    assert not (tmp_path / "out" / "distill" / "student").exists()
    shutil.copy(file, tmp_path / "copy.npz")
    assert "the student: " in distill(*given, tmp_path / "copy.npz", "--out", tmp_path / "both")
    shown = distill("--teacher", made / "train-generalist", "--out", tmp_path / "none", *settings)
    assert "--teacher FILE of its predictions" in " ".join(shown.split())


def test_a_file_that_has_changed_is_not_what_taught(predicted, tmp_path):
    file, settings = predicted
    distill("--teacher", file, "--out", tmp_path / "out", *settings)
    shutil.copy(file, tmp_path / "copy.npz")
    assert "answers as" in examined(tmp_path / "out", "--teacher", tmp_path / "copy.npz")
    arrays = dict(np.load(file))
    np.savez(file, **{**arrays, "test": arrays["test"][:, ::-1]})
    assert "it has changed" in " ".join(examined(tmp_path / "out", "--teacher", file).split())


@pytest.mark.parametrize(
    ("out", "settings", "message"),
    [
        ("run/x", [], "would share a folder"),
        ("run", [], "would share a folder"),
        ("out", ["student.teacher=online"], "asked once, not about every batch"),
        ("out", ["data.exclude_labels=['a0']"], "encoded otherwise"),
        ("out", ["data.standardize=false"], "encoded otherwise"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(teacher, tmp_path, out, settings, message):
    folder = tmp_path / out if out == "out" else teacher.folder.parent / out
    options = [f"--set={setting}" for setting in settings]
    arguments = ["--teacher", teacher.folder, "--model=generalist", "--out", folder, *options]
    assert message in " ".join(distill(*arguments).split())
    assert not (folder / "distill" / "student").exists()


def examined(*arguments):
    return CliRunner().invoke(app, ["examine-student", *map(str, arguments)]).output


def test_a_run_says_what_its_students_have_of_their_teacher(teacher, tmp_path):
    shutil.copytree(teacher.folder, tmp_path / "run")
    found = json.loads(examined(tmp_path / "run", "--json", "--rows", 100))
    assert found == read_json(tmp_path / "run" / "transfer.json")
    assert found["n_rows"] == 100
    ensemble, *students = found["models"]
    assert [row["name"] for row in students] == ["student", "student_hard_labels"]
    assert {"changed", "kl_views"} <= ensemble.keys()
    assert {"agreement", "repeated", "changed", "fgsm", "pgd", "probe"} <= students[0].keys()
    assert "<svg" in (tmp_path / "run" / "transfer.svg").read_text()


def test_the_values_are_those_of_the_models_on_the_test_rows(teacher, tmp_path):
    shutil.copytree(teacher.folder, tmp_path / "run")
    found = json.loads(examined(tmp_path / "run", "--json"))
    arrays = np.load(str(teacher.config.data.arrays))
    models = [specialists.load(teacher.folder, name) for name in ("ensemble", "student")]
    ours, theirs = (model.predict_proba(arrays["x_test"]).argmax(1) for model in models)
    assert found["models"][1]["agreement"] == pytest.approx((ours == theirs).mean())
    right = np.array(models[0].class_names)[ours] == arrays["y_test"]
    assert found["n_errors"] == (~right).sum()


def test_students_of_another_folders_teacher_ask_for_it(teacher, tmp_path):
    out = tmp_path / "out"
    distill("--teacher", teacher.folder, "--model", "generalist", "--out", out)
    assert "the teacher of these students does not lie in their folder" in examined(out)
    told = examined(out, "--teacher", teacher.path("train-generalist"), "--split", "validation")
    assert "answers as the teacher" in told
    assert f"{out}/transfer.json and {out}/transfer.svg" in told
