"""Several seeds together: means, paired intervals, and the verdict that follows."""

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

from specialists.errors import InputError
from specialists.evaluation import SeedScores, compare_seeds
from specialists.report import comparison_figure, comparison_markdown, verdict

COSTS = {
    "generalist": (1.0, 100),
    "ensemble": (2.0, 300),
    "generalist_continued": (1.0, 300),
    "generalist_wide": (2.0, 300),
    "generalist_ensemble": (3.0, 300),
    "student": (0.25, 100),
    "student_hard_labels": (0.25, 100),
}


def seed_scores(seed, skills, n=4000, same_examples=True):
    """Models that answer right with given probabilities, on shared luck."""
    rng = np.random.default_rng(0 if same_examples else seed)
    labels, luck = rng.integers(0, 9, n), rng.random(n)
    luck += 0.02 * np.random.default_rng([seed, 1]).normal(size=n)
    right = {name: (luck < skill).astype(float) for name, skill in skills.items()}
    nll = {name: 2 - values for name, values in right.items()}
    models = {
        name: {
            "top1": float(right[name].mean()),
            "top5": 1.0,
            "nll": float(nll[name].mean()),
            "top1_any_valid": None,
            "parameters": 10,
            "inference_flops": COSTS[name][0],
            "training_examples": COSTS[name][1],
        }
        for name in skills
    }
    evaluation = {"dataset": "made", "n_classes": 9, "n_test": n, "seed": seed, "models": models}
    seconds = dict.fromkeys(skills, 60.0)
    return SeedScores(evaluation, labels, {"top1": right, "nll": nll}, seconds)


def compared(n_seeds=3, same_examples=True, **skills):
    base = dict.fromkeys(COSTS, 0.5) | {"student": 0.45, "student_hard_labels": 0.4}
    seeds = [seed_scores(s, base | skills, same_examples=same_examples) for s in range(n_seeds)]
    return compare_seeds(seeds, n_bootstrap=300)


@pytest.mark.parametrize("same_examples", [True, False])
def test_a_difference_is_the_mean_over_seeds_inside_its_interval(same_examples):
    comparison = compared(same_examples=same_examples, ensemble=0.56)
    entry = next(
        d for d in comparison["differences"] if (d["a"], d["metric"]) == ("ensemble", "top1")
    )
    assert entry["value"] == pytest.approx(np.mean(entry["values"]))
    assert entry["spread"] == pytest.approx(np.std(entry["values"], ddof=1))
    low, high = entry["interval"]
    assert low < entry["value"] < high
    assert low == pytest.approx(0.06, abs=0.02)
    summary = comparison["models"]["ensemble"]["top1"]
    assert summary["mean"] == pytest.approx(np.mean(summary["values"]))


def test_one_seed_has_no_spread():
    comparison = compared(n_seeds=1)
    assert comparison["models"]["generalist"]["top1"]["spread"] is None
    assert "±" not in comparison_markdown(comparison)


def test_seeds_of_other_data_are_refused():
    a, b = (seed_scores(s, dict.fromkeys(COSTS, 0.5)) for s in range(2))
    b = dataclasses.replace(b, evaluation={**b.evaluation, "dataset": "other"})
    with pytest.raises(InputError, match="differ in their dataset"):
        compare_seeds([a, b])
    with pytest.raises(InputError, match="nothing to compare"):
        compare_seeds([])


@pytest.mark.parametrize(
    ("skills", "start"),
    [
        ({}, "Keep the generalist"),
        ({"ensemble": 0.45, "generalist_wide": 0.46}, "Keep the generalist"),
        ({"ensemble": 0.6}, "Use specialists: +"),
        ({"ensemble": 0.55, "generalist_continued": 0.6}, "Train longer: +"),
        ({"ensemble": 0.55, "generalist_wide": 0.6}, "Go wider: +"),
        ({"ensemble": 0.5, "generalist_ensemble": 0.6}, "Average generalists: +"),
        ({"ensemble": 0.6, "generalist_ensemble": 0.6}, "Use specialists"),
        ({"ensemble": 0.6, "generalist_continued": 0.6}, "Train longer"),
    ],
)
def test_the_verdict_names_the_cheapest_of_what_clearly_helps_most(skills, start):
    said = verdict(compared(**skills))
    assert said.startswith(start)
    assert "pecialists" in said


def test_the_table_has_a_row_a_model_and_the_figure_is_svg():
    comparison = compared(ensemble=0.6)
    text = comparison_markdown(comparison)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(comparison["models"])
    assert len({row.count("|") for row in rows}) == 1
    assert "The student keeps" in text
    figure = ElementTree.fromstring(comparison_figure(comparison))
    assert figure.tag == "{http://www.w3.org/2000/svg}svg"
    assert figure.findall(".//{http://www.w3.org/2000/svg}use")


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        (("admitted", "admitted"), None),
        (("not tested", "admitted"), None),
        (("refused", "admitted"), "In 1 of 2 seeds"),
        (("refused", "refused"), "In all seeds"),
    ],
)
def test_seeds_that_keep_their_specialists_out_are_told(gates, told):
    text = comparison_markdown({**compared(ensemble=0.6), "gate": list(gates)})
    assert ("answers like its generalist" in text) == (told is not None)
    assert told is None or told in text
