"""The tables say what the files of the runs say."""

import runpy
import sys

import pytest
import small_run

from pipelines import stages
from pipelines.benchmarks import learned_combination, random_clusters
from specialists.files import read_json


def test_every_rule_and_n_has_a_row_with_validation_and_test_scores(tmp_path):
    run = small_run.make_run(tmp_path / "run")
    stages.run_stages(run, "combine-predictions")
    title, _, *lines = learned_combination.rules_table(run.folder).splitlines()
    assert "12 classes, 3 specialists, 60 validation and 120 test rows" in title
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {len(row) for row in rows} == {len(learned_combination.HEADER)}
    assert [row[0] for row in rows[3:]] == [*6 * ["1"], *6 * ["2"], *5 * ["all"]]
    candidates = read_json(run.path("combine-predictions", "choice.json"))["candidates"]
    everywhere = [c for c in candidates if c.get("weight", 1) == 1 and "confidence" not in c]
    scores = {(c["rule"], c["n"]): f"{c['nll']:.4f}" for c in everywhere}
    kl, learned, side_by_side, fitted = rows[3], rows[5], rows[7], rows[8]
    assert (kl[2], kl[7:]) == ("KL, weight 1", ["", ""])
    assert rows[15][3] == scores["kl", None]
    assert side_by_side[3] == scores["side_by_side", 1]
    assert (learned[2], fitted[2]) == ("learned", "KL, dustbins fitted (1)")
    assert learned[3].split(" / ")[1] == scores["learned", 1]
    assert fitted[3].split(" / ")[1] == scores["kl", 1]
    low, high = (float(end) for end in learned[7].split("[")[1].strip("]").split(","))
    assert low <= float(learned[7].split()[0]) <= high
    assert float(learned[5]) - float(kl[5]) == pytest.approx(float(learned[7].split()[0]), abs=2e-4)


def test_random_clusters_have_the_same_generalist_and_sizes(tmp_path):
    config = str(small_run.make_run(tmp_path / "source").folder / "config.toml")
    text = random_clusters.compare_kinds(tmp_path / "out", config, ["seed=3"], 2)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert rows[0][3:5] == ["confusable (cost)", "random (cost)"]
    assert [row[0] for row in rows[2:]] == ["3", "4", "mean"]
    for seed in (3, 4):
        runs = [tmp_path / "out" / f"seed-{seed}" / kind for kind in ("confusable", "random")]
        weights = [run / "train-generalist" / "weights.safetensors" for run in runs]
        assert weights[0].samefile(weights[1])
        clusters = [read_json(run / "cluster-classes" / "clusters.json") for run in runs]
        sizes = [sorted(len(c["classes"]) for c in found["clusters"]) for found in clusters]
        assert sizes[0] == sizes[1]
        members = [{frozenset(c["classes"]) for c in found["clusters"]} for found in clusters]
        assert members[0] != members[1]
    for column in (2, 3, 4):
        tops = [float(row[column].split()[0]) for row in rows[2:]]
        assert tops[2] == pytest.approx((tops[0] + tops[1]) / 2, abs=0.01)
    gain = read_json(tmp_path / "out" / "random_clusters.json")["gains"]["right"]
    assert rows[4][5].startswith(f"{100 * gain['value']:+.2f} [")
    gaps = [float(row[5].split()[0]) for row in rows[2:]]
    tops = [float(cell.split()[0]) for cell in rows[2][3:5]]
    assert gaps[0] == pytest.approx(tops[0] - tops[1], abs=0.02)
    low, high = (float(end) for end in rows[4][5].split("[")[1].strip("]").split(","))
    assert low <= gaps[2] <= high


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("equal_compute", ("{folder}", "nowhere")),
        ("learned_combination", ("{folder}",)),
        ("random_clusters", ("{folder}", "nowhere")),
        ("recipes", ("{folder}", "nowhere", "--try", "a: seed=1")),
        ("regime", ("{folder}", "nowhere", "--axis", "width")),
        ("results", ("{folder}", "a command")),
        ("students", ("{folder}",)),
    ],
)
def test_a_mistake_is_one_message(module, arguments, tmp_path, monkeypatch, capsys):
    folder = str(tmp_path / "nothing")
    monkeypatch.setattr("sys.argv", [module, *(a.format(folder=folder) for a in arguments)])
    monkeypatch.delitem(sys.modules, f"pipelines.benchmarks.{module}", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"pipelines.benchmarks.{module}", run_name="__main__")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "nothing" in error or "nowhere" in error
