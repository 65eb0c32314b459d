"""`specialists compare`: several seeds of the whole pipeline, and what they say together."""

import json

import pytest
from small_run import make_run
from typer.testing import CliRunner

from pipelines.__main__ import app


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


def test_a_mistake_costs_one_message(folder):
    result = compare(folder, 1, "--set", "generalist.epoch=3")
    assert result.exit_code == 2
    assert "epochs" in result.output
    assert "Traceback" not in result.output
