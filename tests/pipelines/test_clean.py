"""`specialists clean`: what is left of a run predicts, is reported and compared as before."""

import json
import shutil

import numpy as np
import pytest
import small_run
from typer.testing import CliRunner

from pipelines import finished_run, stages
from pipelines.__main__ import app
from pipelines.clean import clean_run, intermediate_files
from pipelines.kept_weights import lacks_weights
from pipelines.runs import Run
from specialists import load
from specialists.errors import InputError
from specialists.files import sha256


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run; rivals keep no weights that are larger than their predictions."""
    run = small_run.make_run(tmp_path_factory.mktemp("clean") / "run")
    with run.lock():
        stages.run_stages(run)
    return run


@pytest.fixture
def cleaned(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    run = Run(tmp_path / "run")
    with run.lock():
        clean_run(run)
    return run


def arrays(run) -> int:
    files = [*run.folder.rglob("*.npy"), *run.folder.rglob("*.safetensors")]
    kept = (file for file in files if "prepare-data" not in file.parts)
    return sum(file.stat().st_size for file in kept)


def invoked(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_cleaning_halves_what_was_trained_and_predicted(finished, cleaned):
    assert arrays(cleaned) < arrays(finished) / 2


def test_a_cleaned_run_is_done_and_is_reported_as_before(finished, cleaned):
    assert {stage.state for stage in stages.status(cleaned)} == {"done"}
    assert finished_run.read_seed(cleaned).evaluation == finished_run.read_seed(finished).evaluation
    invoked("write-report", cleaned.folder, "--force")


@pytest.mark.parametrize("model", ["ensemble", "student", "generalist"])
def test_a_cleaned_run_still_offers_the_models_that_predict(model, cleaned):
    assert not lacks_weights(cleaned.folder, model)


@pytest.mark.parametrize("model", ["ensemble", "student", "generalist"])
def test_a_cleaned_run_predicts_as_before_also_as_json(model, finished, cleaned, tmp_path):
    np.save(tmp_path / "x.npy", small_run.features(1, 7)[0])
    options = (tmp_path / "x.npy", "--model", model, "--top", 2, "--json")
    before, after = (invoked("predict", run.folder, *options) for run in (finished, cleaned))
    assert before == after
    rows = [json.loads(line) for line in after.splitlines()]
    assert [row["row"] for row in rows] == list(range(small_run.N_CLASSES))
    assert rows[0]["classes"][0]["probability"] >= rows[0]["classes"][1]["probability"]


def test_run_says_what_is_gone_and_makes_nothing_again_unasked(cleaned, capsys):
    with cleaned.lock():
        stages.run_stages(cleaned)
    told = capsys.readouterr().out
    assert "`specialists clean` removed" in told
    assert told.count("done already, skipped") == len(stages.STAGES)


def test_a_stage_that_is_made_again_makes_what_it_needs_and_nothing_else(finished, cleaned, capsys):
    with cleaned.lock():
        stages.run_stages(cleaned, force=["evaluate-models"])
    told = capsys.readouterr().out
    assert "combine-predictions: what was removed of it is needed now" in told
    assert "train-specialists: done already, skipped" in told
    assert "distill-student: done already, skipped" in told
    for name in ("combine-predictions/test.ensemble.npy", "evaluate-models/nll.npy"):
        assert sha256(cleaned.folder / name) == sha256(finished.folder / name)


def test_one_stage_alone_names_the_command_that_makes_what_it_needs(cleaned):
    with pytest.raises(InputError, match="combine-predictions that `specialists clean` removed"):
        stages.check_earlier(cleaned, stages.find_stage("evaluate-models"))


def test_a_baseline_says_that_its_weights_are_gone(cleaned):
    with pytest.raises(InputError, match="were not kept"):
        load(cleaned.folder, "generalist_ensemble")


def test_a_run_cleans_itself_where_its_settings_say_so(finished, cleaned, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(finished.folder, folder)
    told = invoked("run", "--out", folder, "--set", "clean=true")
    assert "clean = true: " in told
    assert "files removed: " in told
    left, expected = ({f.relative_to(r) for f in r.rglob("*")} for r in (folder, cleaned.folder))
    assert left == expected
    assert "clean = true: " not in invoked("run", "--out", folder)
    earlier = invoked("run", "--out", folder, "--until", "cluster-classes")
    assert "files removed: " not in earlier


def test_an_unfinished_run_is_not_cleaned(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    before = intermediate_files(Run(tmp_path / "run"))
    with pytest.raises(InputError, match="not finished"):
        clean_run(Run(tmp_path / "run"))
    assert intermediate_files(Run(tmp_path / "run")) == before


def test_status_is_json_for_programs(cleaned):
    values = json.loads(invoked("status", cleaned.folder, "--json"))
    assert [row["state"] for row in values["stages"]] == ["done"] * len(stages.STAGES)
    assert values["disk_bytes"] > 0
