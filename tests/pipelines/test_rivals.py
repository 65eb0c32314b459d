"""What stays of baselines: their predictions, and their weights only where somebody wants them."""

import shlex
import shutil

import numpy as np
import pytest
import small_run
from typer.testing import CliRunner

from pipelines import baselines, classifiers, rivals, stages
from pipelines.__main__ import app
from pipelines.classifiers import Member
from pipelines.compare import weights_note
from pipelines.context import RunContext
from pipelines.runs import Run, resumable
from pipelines.trained_models import load
from pipelines.write_report import closing_lines, disk_line
from specialists import report
from specialists.errors import InputError
from specialists.files import read_array, read_json
from specialists.training import loop

KEPT = "evaluation.keep_rivals=true"


@pytest.fixture(autouse=True)
def _predictions_are_small(monkeypatch):
    """As they are beside an n-gram table; the networks here have a few hundred numbers."""
    monkeypatch.setattr(rivals, "BYTES", 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with its report whose baselines kept their predictions alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rivals, "BYTES", 0)
        folder = tmp_path_factory.mktemp("rivals")
        empty = small_run.make_run(folder / "empty")
        run = small_run.changed_copy(empty, folder / "run", "evaluation.baselines=all")
        with run.lock():
            stages.run_stages(run)
    return run


def copied(run, folder, *overrides):
    return small_run.changed_copy(run, folder, *overrides)


def run_again(run):
    with run.lock():
        stages.run_stages(run)


def folders(run):
    return sorted(run.path("evaluate-models", "baselines").iterdir())


def nothing_trains(monkeypatch):
    def refuse(self):
        raise AssertionError("a training")

    monkeypatch.setattr(loop.Trainer, "fit", refuse)


def test_baselines_keep_predictions_and_what_they_cost(finished):
    assert len(folders(finished)) >= 5
    for folder in folders(finished):
        names = {file.name for file in folder.iterdir()}
        assert names >= {"model.json", "result.json", "validation.calibrated.npy"}
        assert "weights.safetensors" not in names
        assert "weights.safetensors" not in read_json(folder / "manifest.json")["outputs"]
        assert read_array(folder / "test.calibrated.npy").dtype == np.float32


def test_kept_weights_change_no_figure(finished, tmp_path):
    run = copied(finished, tmp_path / "kept", KEPT, "evaluation.n_bootstrap=21")
    other = copied(finished, tmp_path / "left", "evaluation.n_bootstrap=21")
    run_again(run)
    run_again(other)
    assert all((folder / "weights.safetensors").is_file() for folder in folders(run))
    assert read_json(run.folder / "evaluation.json") == read_json(other.folder / "evaluation.json")
    for split in ("test", "validation"):
        context = RunContext.open(run.folder)
        for folder in folders(run):
            member = Member(context, folder)
            found = member.predict(context.split(split).inputs).dense()
            assert found.equal(member.predictions(split).dense())


def test_weights_that_are_wanted_later_are_trained_and_it_is_said(finished, tmp_path, capsys):
    run = copied(finished, tmp_path / "run", KEPT)
    run_again(run)
    said = capsys.readouterr().out
    names = said.partition("the weights of ")[2].partition(" were not kept, and ")[0].split(", ")
    assert sorted(names) == [folder.name for folder in folders(run)]
    assert "evaluation.keep_rivals asks for them: trained again" in said
    run_again(run)
    assert "done already" in capsys.readouterr().out


def test_weights_that_are_wanted_no_longer_go_without_a_training(finished, tmp_path, monkeypatch):
    run = copied(finished, tmp_path / "kept", KEPT)
    run_again(run)
    nothing_trains(monkeypatch)
    run = copied(run, tmp_path / "left", "evaluation.keep_rivals=false")
    run_again(run)
    assert not any((folder / "weights.safetensors").is_file() for folder in folders(run))
    assert all(status.state == "done" for status in stages.status(run))


@pytest.mark.parametrize("fails_at", ["predictions", "weights", "manifest"])
def test_what_was_trained_when_a_run_ended_is_not_trained_again(
    finished, tmp_path, monkeypatch, fails_at
):
    run = copied(finished, tmp_path / "run")
    shutil.rmtree(run.path("evaluate-models"))

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if fails_at == "predictions":
            patch.setattr(rivals, "write_array", killed)
        elif fails_at == "weights":
            patch.setattr(rivals.Path, "unlink", _unless_weights(killed))
        else:
            patch.setattr(resumable, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run_again(run)
    first = folders(run)[0]
    assert (first / "result.json").is_file()
    trained, fit = [], loop.Trainer.fit
    monkeypatch.setattr(
        loop.Trainer, "fit", lambda self: trained.append(self.folder.name) or fit(self)
    )
    run_again(run)
    assert first.name not in trained
    assert len(trained) == len(folders(run)) - 1
    for folder in folders(run):
        assert not (folder / "weights.safetensors").is_file()
        for split in ("test", "validation"):
            file = f"{split}.calibrated.npy"
            before = finished.path("evaluate-models", "baselines", folder.name, file)
            assert np.array_equal(read_array(folder / file), read_array(before))


def _unless_weights(killed):
    unlink = rivals.Path.unlink

    def risky(path, missing_ok=False):
        return killed() if path.name == "weights.safetensors" else unlink(path, missing_ok)

    return risky


def test_damaged_weights_of_an_interrupted_baseline_are_trained_again(
    finished, tmp_path, monkeypatch
):
    run = copied(finished, tmp_path / "run")
    shutil.rmtree(run.path("evaluate-models"))
    with monkeypatch.context() as patch:
        patch.setattr(rivals, "write_array", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_again(run)
    (folders(run)[0] / "weights.safetensors").write_bytes(b"torn")
    run_again(run)
    assert all(status.state == "done" for status in stages.status(run))


def test_small_weights_stay_in_place_of_larger_predictions(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(rivals, "BYTES", 4)
    run = copied(finished, tmp_path / "run")
    shutil.rmtree(run.path("evaluate-models"))
    run_again(run)
    names = {file.name for file in folders(run)[0].iterdir()}
    assert "weights.safetensors" in names
    assert "test.calibrated.npy" not in names


@pytest.mark.parametrize(
    "model", ["generalist_continued", "generalist_wide", "generalist_ensemble"]
)
def test_a_baseline_without_weights_names_the_command_that_makes_them(finished, model):
    with pytest.raises(InputError) as error:
        load(finished.folder, model, trust_code=False)
    command = f"specialists run --out {finished.folder} --set evaluation.keep_rivals=true"
    assert command in str(error.value)
    with pytest.raises(InputError) as error:
        load(folders(finished)[0], "student", trust_code=False)
    assert command in str(error.value)


def test_baselines_with_weights_predict_what_was_evaluated(finished, tmp_path):
    run = copied(finished, tmp_path / "kept", KEPT)
    run_again(run)
    context = RunContext.open(run.folder)
    for name, outputs in baselines.baseline_outputs(Run(run.folder), "test").items():
        predictor = load(run.folder, name, trust_code=False)
        found = predictor.predict_encoded(context.split("test").inputs)
        np.testing.assert_allclose(found, outputs.predictions.dense().exp().numpy(), atol=1e-6)


def test_a_baseline_that_was_not_trained_cannot_be_loaded(finished, tmp_path):
    run = copied(finished, tmp_path / "run", "evaluation.baselines=[]")
    run_again(run)
    with pytest.raises(InputError, match="no trained generalist_wide"):
        load(run.folder, "generalist_wide", trust_code=False)


def test_the_generalist_beside_them_is_asked_not_read(finished):
    context = RunContext.open(finished.folder)
    generalist = Member(context, context.path("train-generalist"))
    for split in ("validation", "test"):
        found = generalist.predict(context.split(split).inputs).dense()
        assert generalist.predictions(split).dense().equal(found)


def test_chosen_trainings_are_on_the_disk_once(finished):
    generalist = finished.path("train-generalist")
    student = finished.path("distill-student", "student", classifiers.WEIGHTS)
    trials = finished.path("distill-student", "trials").glob("soft-*/weights.safetensors")
    one = generalist / classifiers.WEIGHTS
    assert one.samefile(generalist / "units" / "width-12" / classifiers.WEIGHTS)
    assert any(student.samefile(trial) for trial in trials)


def test_who_is_advised_to_take_a_baseline_is_told_what_makes_its_weights(finished, monkeypatch):
    command = f"`specialists run --out {finished.folder} --set evaluation.keep_rivals=true`"
    monkeypatch.setattr(report, "recommended", lambda comparison: "student")
    assert not any(command in line for line in closing_lines(finished))
    monkeypatch.setattr(report, "recommended", lambda comparison: "generalist_wide")
    assert closing_lines(finished)[1] == f"  its weights: {command}"


def test_the_command_that_a_run_ends_with_predicts(finished):
    command = shlex.split(closing_lines(finished)[-3])
    assert command[0] == "specialists"
    result = CliRunner().invoke(app, command[1 : command.index("|")])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("row\tinput\trank\tclass")


def test_a_comparison_names_the_command_of_all_its_seeds(finished, tmp_path):
    copied(finished, tmp_path / "seed-5")
    note = weights_note(tmp_path, 1, "generalist_continued")
    command = f"specialists compare --out {tmp_path} --seeds 1 --set evaluation.keep_rivals=true"
    assert note.strip() == f"its weights: `{command}`"
    assert not weights_note(tmp_path, 1, "student")


def test_a_run_says_what_it_takes_of_the_disk(finished):
    n_bytes = 512 * sum(
        {
            path.stat().st_ino: path.stat().st_blocks for path in finished.folder.rglob("*.*")
        }.values()
    )
    found = disk_line(finished.folder)
    assert found.startswith("disk: ")
    assert found.endswith(f" MB in {finished.folder}")
    assert float(found.split()[1]) == pytest.approx(n_bytes / 1e6, rel=0.01)
