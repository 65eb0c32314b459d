"""Accuracy against computing: every model has a row, and its FLOPs are those of its layers."""

import json
import shutil

import numpy as np
import pytest
from small_run import DIM, N_CLASSES, make_run

from pipelines.benchmarks import equal_compute
from pipelines.benchmarks.markdown_tables import heading, markdown_table
from pipelines.benchmarks.measured import Measured, SeedResults
from pipelines.benchmarks.study import command_line
from pipelines.runs import Run
from specialists.files import read_array, read_json
from specialists.training import TrainingCost

WIDTH = 12
NAMES = [
    "generalist",
    *(f"generalist, {mark}" for mark in ("1/4", "1/2", "2x", "4x")),
    "generalist_continued",
    "generalist_wide",
    *(f"generalist_ensemble, {k}" for k in (2, 3, 4)),
    *(f"specialists, {mark}" for mark in ("n = 1", "n = 3", "all")),
    "ensemble",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compute")
    make_run(folder / "source")
    benchmark(folder)
    return folder


def benchmark(folder, widths=tuple(equal_compute.FACTORS)):
    source = str(folder / "source" / "config.toml")
    found = ["clusters.predictions=cross-fitted"]
    return equal_compute.equal_compute(folder / "all", source, found, 1, widths)


def mlp_flops(width, n_outputs):
    """Of one example through a hidden layer and the head: two operations a multiply-add."""
    return 2 * DIM * width + 2 * width * n_outputs


def found(folder):
    return json.loads((folder / "all/equal_compute.json").read_text())


def seen(path):
    return read_json(path / "result.json")["training_examples"]


def flops(path):
    return read_json(path / "result.json")["training_flops"]


def test_the_heading_tells_what_its_intervals_draw(folder):
    text = (folder / "all/equal_compute.md").read_text(encoding="utf-8")
    assert "interval over groups of test examples. x:" in text
    assert "spread" not in text
    of_two = heading("languages", 2, "")
    assert of_two.startswith("# languages, 2 seeds\n\n")
    assert "interval over seeds and groups of test examples." in of_two
    assert "spread" in of_two


def test_every_model_has_a_row_and_its_mark_in_the_figure(folder):
    assert list(found(folder)) == NAMES
    lines = (folder / "all/equal_compute.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    assert len(rows) == len(NAMES)
    for name, row in zip(NAMES, rows, strict=True):
        model = found(folder)[name]
        assert len(model["top1"]) == len(model["training_flops"]) == 1
        assert f"| {100 * model['top1'][0]:.2f} |" in row
        if name != "generalist":
            low, high = model["top1_gain"]["interval"]
            assert low <= model["top1_gain"]["value"] <= high
    svg = (folder / "all/equal_compute.svg").read_text(encoding="utf-8")
    for mark in ("1/4", "4x", "n = 3", "specialists, KL", "generalists averaged"):
        assert mark in svg


def test_training_counts_what_the_trainings_counted(folder):
    models, run = found(folder), Run(folder / "all/seed-5")
    forward = mlp_flops(WIDTH, N_CLASSES)
    own = flops(run.path("train-generalist"))
    assert 2.5 * forward < own / seen(run.path("train-generalist")) < 3.5 * forward
    assert models["generalist"]["training_flops"][0] == own
    assert models["generalist"]["inference_flops"][0] == forward
    quarter = flops(run.path("equal-compute", "width-3"))
    assert models["generalist, 1/4"]["training_flops"][0] == quarter
    trained = run.path("evaluate-models", "baselines")
    continued = own + flops(trained / "generalist_continued")
    assert models["generalist_continued"]["training_flops"][0] == continued
    two = own + flops(trained / "generalist_ensemble-1")
    assert models["generalist_ensemble, 2"]["training_flops"][0] == two
    assert models["generalist_ensemble, 4"]["inference_flops"][0] == 4 * forward


def test_specialists_cost_what_all_of_them_were_trained_with_and_what_votes(folder):
    models, run = found(folder), Run(folder / "all/seed-5")
    training, inference = models["generalist"]["training_flops"][0], mlp_flops(WIDTH, N_CLASSES)
    n_train = len(read_array(run.path("prepare-data", "train.labels.npy")))
    for fold in range(2):
        training += flops(run.path("cluster-classes", "units", f"fold-{fold}"))
    training += 2 * n_train * inference  # predictions to cluster by, and soft targets
    for about in run.path("train-specialists").glob("specialist-*/model.json"):
        specialist = read_json(about)
        training += specialist["training_flops"]
        inference += mlp_flops(2 * WIDTH, len(specialist["subset"]) + 1)
    for name in ("specialists, n = 1", "specialists, all", "ensemble"):
        assert models[name]["training_flops"][0] == pytest.approx(training, rel=1e-12)
    assert models["specialists, all"]["inference_flops"][0] == pytest.approx(inference, rel=1e-12)
    few, all_of_them = (models[f"specialists, {mark}"] for mark in ("n = 1", "all"))
    assert few["inference_flops"][0] < all_of_them["inference_flops"][0]


def test_what_stands_is_not_made_again(folder):
    files = list((folder / "all").rglob("weights.safetensors"))
    stamps = {file: file.stat().st_mtime_ns for file in files}
    text = benchmark(folder)
    assert {file: file.stat().st_mtime_ns for file in files} == stamps
    assert text == (folder / "all/equal_compute.md").read_text(encoding="utf-8")


def test_widths_can_be_named(folder, tmp_path, capsys):
    given = command_line(
        "equal_compute", equal_compute.OPTIONS, ["folder", "glyphs", "--widths", "2x,1/4"]
    )
    assert given["widths"] == ("1/4", "2x")
    shutil.copytree(folder, tmp_path / "copy")
    benchmark(tmp_path / "copy", given["widths"])
    widths = [name for name in found(tmp_path / "copy") if name.startswith("generalist, ")]
    assert widths == ["generalist, 1/4", "generalist, 2x"]
    with pytest.raises(SystemExit):
        command_line("equal_compute", equal_compute.OPTIONS, ["folder", "glyphs", "--widths", "3x"])
    assert "3x is not of 1/4,1/2,2x,4x" in capsys.readouterr().err


def measured(seed, examples, right=0.5):
    rng = np.random.default_rng(seed)
    answers = (rng.random(200) < right).astype(float)
    return Measured(answers, 1 - answers, examples, TrainingCost(flops=30.0), 2.0)


def test_seeds_are_joined_by_their_mean_and_shown_with_their_spread():
    base = [measured(i, "same") for i in range(2)]
    better = [measured(i, "same", 0.9) for i in range(2)]
    rows = [{"generalist": a, "ensemble": b} for a, b in zip(base, better, strict=True)]
    results = SeedResults(rows)
    found = results.estimate("right", "ensemble", "generalist")
    gaps = [a.right.mean() - b.right.mean() for a, b in zip(better, base, strict=True)]
    assert found.values == pytest.approx(gaps)
    assert found.value == pytest.approx(np.mean(gaps))
    assert found.interval[0] < found.value < found.interval[1]
    line = markdown_table([equal_compute.model_line(results, "ensemble", {})]).splitlines()[2]
    tops = [100 * one.right.mean() for one in better]
    assert f"| {np.mean(tops):.2f} ± {np.std(tops, ddof=1):.2f} |" in line
    assert line.endswith("| 30 | 1.00 | 2 | 1.00 | 0 |  |")


def test_seeds_with_test_sets_of_their_own_are_resampled_by_themselves():
    up, down = np.ones(200), np.zeros(200)
    up[:100], down[:100] = 0, 1  # opposite gains cancel on shared examples alone
    zero, free = np.zeros(200), TrainingCost()

    def width(names):
        seeds = [
            {"a": Measured(x, x, name, free, 1), "b": Measured(zero, zero, name, free, 1)}
            for x, name in zip((up, down), names, strict=True)
        ]
        low, high = SeedResults(seeds).estimate("right", "a", "b").interval
        return high - low

    assert width(("same", "same")) == 0
    assert width(("one", "other")) > 0.05


def test_intervals_draw_groups_of_examples_whole():
    gain, zero = np.repeat(np.arange(40) % 2, 5).astype(float), np.zeros(200)

    def width(groups):
        a, b = (Measured(x, x, "", TrainingCost(), 1, groups=groups) for x in (gain, zero))
        low, high = SeedResults([{"a": a, "b": b}]).estimate("right", "a", "b").interval
        return high - low

    assert width(np.repeat(np.arange(40), 5)) > 1.5 * width(None)
