"""Recipes are compared on validation rows that did not choose their rule."""

import numpy as np
import pytest
import small_run
import torch

from pipelines.benchmarks import recipes
from pipelines.benchmarks.study import command_line
from pipelines.combine_predictions import open_ensemble
from pipelines.context import RunContext
from pipelines.runs import Run
from specialists.ensemble import CombinationRule
from specialists.errors import InputError
from specialists.files import read_json
from specialists.runtime import derive_seed

OVERRIDES = (
    "seed=0",
    "data.admission_fraction=0",
    'combination.rules=["kl"]',
    "combination.n=[1]",
    "combination.deferral=[1.0]",
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    config = small_run.make_run(folder / "source").folder / "config.toml"
    tried = {"wider": ["specialists.widen=4"]}
    return folder, recipes.compare_recipes(folder / "tried", str(config), OVERRIDES, tried, 2)


def test_each_recipe_has_a_row_and_its_own_specialists_of_the_same_generalist(measured):
    folder, table = measured
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0] == ["recipe", "top-1", "NLL", "cost", "training", "rules"]
    assert [row[0] for row in rows[2:]] == [recipes.BASE, "wider"]
    assert float(rows[3][3].rstrip("x")) > float(rows[2][3].rstrip("x"))
    for seed in (0, 1):
        generalists = [
            (folder / "tried" / f"seed-{seed}" / name / "train-generalist/weights.safetensors")
            for name in ("as-configured", "wider")
        ]
        assert generalists[0].samefile(generalists[1])


def test_the_table_and_every_seed_s_figures_lie_in_the_folder(measured):
    folder, table = measured
    assert (folder / "tried" / "recipes.md").read_text(encoding="utf-8") == table
    record = read_json(folder / "tried" / "recipes.json")
    assert list(record) == [recipes.BASE, "wider"]
    for entry, line in zip(record.values(), table.splitlines()[2:], strict=True):
        gain, top1 = entry["gains"]["right"], [m["top1"] for m in entry["models"].values()]
        assert gain["values"] == pytest.approx(np.subtract(top1[1], top1[0]))
        assert f"| {100 * gain['value']:+.2f} [{100 * gain['interval'][0]:+.2f}, " in line


def test_a_run_s_folder_that_is_somebody_else_s_stops_a_study_before_it_begins(measured, tmp_path):
    config = str(measured[0] / "source" / "config.toml")
    other = tmp_path / "new" / "seed-1" / "wider" / "notes.txt"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    with pytest.raises(InputError, match="wider"):
        recipes.compare_recipes(
            tmp_path / "new", config, OVERRIDES, {"wider": ["specialists.widen=4"]}, 2
        )
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [other]


def test_gains_are_those_of_the_rule_that_the_other_half_chose(measured):
    run = Run(measured[0] / "tried" / "seed-0" / "as-configured")
    found = recipes.outcome(run)
    workspace = RunContext.open(run.folder)
    predictions = open_ensemble(workspace).member_predictions(workspace.dataset.validation.inputs)
    labels = workspace.dataset.validation.labels
    generator = torch.Generator().manual_seed(derive_seed(0, "halves of the validation rows"))
    halves = torch.randperm(len(labels), generator=generator).tensor_split(2)
    gain = torch.zeros(len(labels), dtype=torch.float64)
    for chosen_on, rows in (halves, halves[::-1]):
        dustbin, _ = predictions.select(chosen_on).fit_dustbins(1, labels[chosen_on])
        other = predictions.select(rows)
        joined = other.joined(CombinationRule("kl", 1, 1.0, dustbin=dustbin))
        right, base = (p.predicted() == labels[rows] for p in (joined, other.generalist))
        gain[rows] = right.double() - base.double()
    assert found["ensemble"].about == "; ".join(["kl, n = 1, weight 1, fitted dustbins"] * 2)
    gained = found["ensemble"].right - found["generalist"].right
    assert len(gained) == len(labels)
    assert float(gained.mean()) == pytest.approx(float(gain.mean()))
    costs = read_json(run.path("combine-predictions", "costs.json"))
    for name, model in found.items():
        assert model.training.examples == costs[name]["training_examples"]


def test_predictions_of_some_rows_are_theirs(measured):
    workspace = RunContext.open(measured[0] / "tried" / "seed-0" / "wider")
    predictions = open_ensemble(workspace).member_predictions(workspace.dataset.validation.inputs)
    index = torch.tensor([5, 2, 90])
    rule = CombinationRule("kl", 2, 0.5)
    found = predictions.select(index).joined(rule)
    np.testing.assert_allclose(found.dense(), predictions.joined(rule)[index].dense(), rtol=1e-6)


def test_seeds_count_up_from_the_given_one(measured, tmp_path):
    config = str(measured[0] / "source" / "config.toml")
    recipes.compare_recipes(tmp_path, config, (*OVERRIDES, "seed=3"), {}, 2)
    found = [Run(tmp_path / f"seed-{s}" / "as-configured").config.seed for s in (3, 4)]
    assert found == [3, 4]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["specialists.widen=1.5"], "a name, a colon and settings"),
        ([":specialists.widen=1.5"], "a name, a colon and settings"),
        (["wide:"], "a name, a colon and settings"),
        (["/etc/x: seed=1"], "a name, a colon and settings"),
        (["..: seed=1"], "a name, a colon and settings"),
        (["w: seed=1", "w : seed=2"], "the same name"),
        (["a b: seed=1", "a-b: seed=2"], "the same name"),
        (["as configured: seed=1"], "the same name"),
    ],
)
def test_a_recipe_that_cannot_be_told_from_others_is_refused(given, told):
    with pytest.raises(InputError, match=told):
        recipes.read_recipes(given)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["specialists.widenn=3"], "specialists.widenn"),
        (["seed=9"], "data and generalist"),
        (["data.admission_fraction=0.25"], "data and generalist"),
        (["clusters.n_clusters=2", "generalist.width=20"], "data and generalist"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused_before_anything_is_trained(
    measured, tmp_path, changes, told
):
    config = str(measured[0] / "source" / "config.toml")
    with pytest.raises(InputError, match=told) as error:
        recipes.compare_recipes(tmp_path / "new", config, OVERRIDES, {"odd": changes}, 1)
    assert "--try" in str(error.value)
    assert "odd" in str(error.value)
    assert not (tmp_path / "new").exists()


def test_the_command_line_reads_names_and_settings():
    given = command_line(
        "recipes",
        recipes.OPTIONS,
        ["out", "onet", "seed=3", "--try", "a b: x.y=1 z.w=2", "--seeds", "2"],
    )
    assert (given["config"], given["overrides"], given["seeds"]) == ("onet", ["seed=3"], 2)
    assert recipes.read_recipes(given["recipes"]) == {"a b": ["x.y=1", "z.w=2"]}
