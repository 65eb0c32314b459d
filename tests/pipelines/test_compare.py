"""`specialists compare`: several seeds of the whole pipeline, and what they say together."""

import json
from pathlib import Path

import pytest
from small_run import make_run
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.compare import source_and_comparison, with_all_baselines
from pipelines.run_settings import source_and_folder
from pipelines.terminal import LIBRARY
from specialists.config import Config, GeneralistConfig
from specialists.config.outcome_sections import EvaluationConfig
from specialists.errors import InputError
from specialists.files import write_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("compare")


def compare(folder, n_seeds, *options):
    config = make_run(folder / "source").config_file
    arguments = ["compare", str(config), "--seeds", str(n_seeds), "--out", str(folder / "all")]
    return CliRunner().invoke(app, [*arguments, *options])


def test_every_seed_is_run_once_and_all_are_joined(folder):
    first = compare(folder, 1)
    assert first.exit_code == 0, first.output
    assert "goes on" not in first.output
    stamp = (folder / "all/seed-5/evaluation.json").stat().st_mtime_ns
    both = compare(folder, 2)
    assert both.exit_code == 0, both.output
    assert (folder / "all/seed-5/evaluation.json").stat().st_mtime_ns == stamp
    comparison = json.loads((folder / "all/comparison.json").read_text())
    assert comparison["seeds"] == [5, 6]
    for seed in (5, 6):
        evaluation = json.loads((folder / f"all/seed-{seed}/evaluation.json").read_text())
        assert evaluation["seed"] == seed
        for name, model in evaluation["models"].items():
            values = comparison["models"][name]["top1"]["values"]
            assert values[comparison["seeds"].index(seed)] == model["top1"]
            assert comparison["models"][name]["training_seconds"] > 0
        for entry in evaluation["differences"]:
            (found,) = [
                d
                for d in comparison["differences"]
                if all(d[key] == entry[key] for key in ("a", "b", "metric"))
            ]
            values = found["values"]
            assert values[comparison["seeds"].index(seed)] == pytest.approx(entry["value"])
    text = (folder / "all/comparison.md").read_text(encoding="utf-8")
    assert text in both.output
    assert "**Verdict.**" in text
    assert "<svg" in (folder / "all/comparison.svg").read_text(encoding="utf-8")


@pytest.fixture
def loud():
    """Whatever a test hushes is heard in the next one."""
    level = LIBRARY.level
    yield
    LIBRARY.setLevel(level)


@pytest.mark.usefixtures("loud")
def test_json_is_all_that_is_printed_for_programs(folder):
    assert compare(folder, 1).exit_code == 0
    printed = compare(folder, 1, "--json").stdout
    assert json.loads(printed) == json.loads((folder / "all/comparison.json").read_text())


def test_without_a_config_a_comparison_keeps_its_own(folder):
    assert compare(folder, 1).exit_code == 0
    kept = (folder / "all/seed-5/config.toml").read_text()
    again = CliRunner().invoke(app, ["compare", "--seeds", "1", "--out", str(folder / "all")])
    assert again.exit_code == 0, again.output
    assert "is replaced" not in again.output
    assert (folder / "all/seed-5/config.toml").read_text() == kept
    assert not (folder / "all/seed-0").exists()


def test_settings_come_from_the_config_or_from_the_first_seed(tmp_path):
    for seed in (10, 9):
        write_text(tmp_path / f"seed-{seed}/config.toml", f"seed = {seed}\n")
    write_text(tmp_path / "seed-x/config.toml", "")
    default = ("emoji", Path("runs/compare-emoji"))
    assert source_and_comparison(None, tmp_path, []) == (tmp_path / "seed-9/config.toml", tmp_path)
    assert source_and_comparison("glyphs", tmp_path, []) == ("glyphs", tmp_path)
    assert source_and_comparison(None, None, []) == default
    assert source_and_comparison(None, tmp_path / "new", []) == ("emoji", tmp_path / "new")


@pytest.mark.parametrize(
    ("overrides", "source", "name"),
    [
        ([], "emoji", "emoji"),
        (["seed=1"], "emoji", "emoji"),
        (["data.name=glyphs"], "glyphs", "glyphs"),
        (["data.table=a/titles.tsv.gz"], None, "titles"),
        (["data.images=a/animals/", "seed=1"], None, "animals"),
        (["data.arrays=a/vectors.npz"], None, "vectors"),
        (["data.arrays=omniglot.npz"], None, "omniglot-arrays"),
        (["data.table=languages.tsv"], None, "languages-table"),
        (["data.table=.hidden.tsv"], None, "hidden"),
        (["data.images=photos/./"], None, "photos"),
        (["data.table=..."], None, "table"),
        (["data.factory=package.module:birds"], None, "birds"),
        (["data.name=nothing"], None, "nothing"),
    ],
)
def test_data_of_ones_own_start_from_the_defaults_of_their_kind(overrides, source, name):
    assert source_and_folder(None, None, overrides) == (source, Path("runs", name))
    assert source_and_folder("onet", None, overrides) == ("onet", Path("runs/onet"))


def test_a_mistake_costs_one_message(folder):
    result = compare(folder, 1, "--set", "generalist.epoch=3")
    assert result.exit_code == 2
    assert "epochs" in result.output
    assert "Traceback" not in result.output


def test_the_folder_of_a_run_is_compared_by_its_settings(tmp_path):
    (tmp_path / "config.toml").touch()
    with pytest.raises(InputError, match=f"`specialists compare {tmp_path}/config.toml`"):
        source_and_comparison(str(tmp_path), None, [])


@pytest.mark.parametrize("given", [None, ()])
def test_a_comparison_trains_all_baselines_unless_the_settings_name_some(given):
    trained = ("generalist_continued", "generalist_wide", "generalist_ensemble")
    settings = Config(evaluation=EvaluationConfig(baselines=given))
    assert with_all_baselines(settings).evaluation.baselines == (trained if given is None else ())
    of_predictions = settings.model_copy(update={"generalist": GeneralistConfig(predictions="x")})
    assert with_all_baselines(of_predictions).evaluation.baselines == given
