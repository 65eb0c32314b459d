"""A run repeats from its config.toml, and from what its report shows."""

import html
import re

import pytest
import small_run

from pipelines import stages
from pipelines.run_settings import configured, read_settings
from specialists.config import Config
from specialists.config.defaults import DEFAULTS
from specialists.files import hash_files

FEW = [
    *("generalist.width=12", "generalist.epochs=2", "clusters.n_clusters=3", "seed=5"),
    *("specialists.epochs=2", "student.epochs=1", "student.width=4", "evaluation.baselines=[]"),
    *("evaluation.n_bootstrap=5", "threads=1", "jobs=1", "device=cpu", "combination.n=[1]"),
]
WEIGHTS = ("*/weights.safetensors", "train-specialists/*/weights.safetensors", "*/*/*.safetensors")


def finished(source, folder, overrides, until=None):
    with configured(folder, read_settings(source, overrides, False), None) as run:
        stages.run_stages(run, until)
    return run


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    small_run.write_arrays(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return finished(None, folder / "run", ["data.arrays=data.npz", *FEW])


def weights(run):
    hashes = hash_files(run.folder, WEIGHTS)
    kinds = ("train-generalist/w", "train-specialists/specialist-000", "distill-student/student/")
    assert all(any(name.startswith(kind) for name in hashes) for kind in kinds)
    return hashes


def shown(run):
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    found = re.search(r"config\.toml\)</summary><pre>(.*?)</pre>", page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def test_the_report_shows_what_decided_where_nothing_was_set(first):
    text = first.config_file.read_text(encoding="utf-8")
    assert shown(first).strip() == text.strip()
    held = Config.from_toml(first.config_file).defaults
    assert held is not None
    assert held.kind == "features"
    assert held.student["learning_rate"] == DEFAULTS["features"]["student"]["learning_rate"]
    assert "epochs" not in held.student
    assert "widths" not in held.generalist  # since generalist.width decides


def test_a_run_elsewhere_from_what_is_shown_has_the_same_weights(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shown.toml").write_text(shown(first), encoding="utf-8")
    again = finished("shown.toml", tmp_path / "again", [], "distill-student")
    assert weights(again) == {name: weights(first)[name] for name in weights(again)}


def test_defaults_of_another_version_do_not_change_a_run(first, tmp_path, monkeypatch):
    resolved = Config.from_toml(first.config_file).resolve("features")
    monkeypatch.setitem(DEFAULTS["features"]["student"], "learning_rate", 0.5)
    assert Config.from_toml(first.config_file).resolve("features") == resolved
    others = Config.from_toml(first.config_file, ["defaults.kind=text"])
    assert others.resolve("features").student.learning_rate == 0.5


def test_a_finished_run_is_done_and_its_settings_are_not_new(first, capsys):
    overrides = [f"data.arrays={first.config.data.arrays}", *FEW]
    again = finished(None, first.folder, overrides)
    assert {stage.state for stage in stages.status(again)} == {"done"}
    assert "is replaced" not in capsys.readouterr().out
    assert again.config.defaults is not None
