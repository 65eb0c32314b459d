"""Several seeds together: means, paired intervals, and the verdict that follows."""

import dataclasses
import itertools
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from pipelines.finished_run import groups_of, is_still_improving, training_seconds
from pipelines.runs import Run
from specialists.errors import InputError
from specialists.evaluation import Comparison, Evaluation, ModelScores, SeedScores, compare_seeds
from specialists.evaluation.several_seeds import MeanDifference, ModelSummary, ShareKept, Summary
from specialists.files import write_array, write_json, write_text
from specialists.report import (
    best_at_hand,
    comparison_figure,
    comparison_markdown,
    markdown,
    verdict,
)
from specialists.report.closing import option_lines
from specialists.report.numbers import duration
from specialists.report.recommendation import options
from specialists.report.sentences import time_sentence, unlike_flops
from specialists.report.verdict import WEIGHTS_KEPT, retention_sentence

COSTS = {
    "generalist": (1.0, 100),
    "ensemble": (2.0, 300),
    "generalist_continued": (1.0, 300),
    "generalist_wide": (2.0, 300),
    "generalist_ensemble": (3.0, 300),
    "generalist_ensemble_same_inference": (2.0, 200),
    "generalist_ensemble_deferred": (1.8, 200),
    "student": (0.25, 100),
    "student_hard_labels": (0.25, 100),
}


STUDENTS = {"student": 0.45, "student_hard_labels": 0.4}


def evaluation_of(models, n, seed):
    """What a run's evaluation says of models with these scores; nothing was compared."""
    return Evaluation(
        dataset="made", seed=seed, n_classes=9, n_test=n, n_groups=n, models=models, differences=(),
        retention=None, n_specialists=0, n_answering=0, conditional={}, coverage=(),
    )  # fmt: skip


def model_scores(top1=0.0, nll=0.0, inference=1.0, examples=1, trials=1):
    return ModelScores(
        top1=top1, top1_interval=(0, 1), top1_any_valid=None, top1_macro=top1, top5=1.0, nll=nll,
        ece=0.0, agreement=1.0, parameters=10, inference_flops=inference,
        training_examples=examples, training_flops=10.0 * examples, tuning_trials=trials,
    )  # fmt: skip


def seed_scores(seed, skills, n=4000, same_examples=True):
    """Models that answer right with given probabilities, on shared luck."""
    rng = np.random.default_rng(0 if same_examples else seed)
    luck = rng.random(n)
    luck += 0.02 * np.random.default_rng([seed, 1]).normal(size=n)
    right = {name: (luck < skill).astype(float) for name, skill in skills.items()}
    nll = {name: 2 - values for name, values in right.items()}
    models = {
        name: model_scores(float(right[name].mean()), float(nll[name].mean()), *COSTS[name], 3)
        for name in skills
    }
    seconds = dict.fromkeys(skills, 60.0)
    examples = "same" if same_examples else str(seed)
    scores = {"top1": right, "nll": nll}
    return SeedScores(evaluation_of(models, n, seed), examples, scores, seconds)


def compared(n_seeds=3, same_examples=True, **skills):
    base = dict.fromkeys(COSTS, 0.5) | STUDENTS
    seeds = [seed_scores(s, base | skills, same_examples=same_examples) for s in range(n_seeds)]
    return compare_seeds(seeds, n_bootstrap=300)


def difference(comparison, a, b, metric="top1"):
    entry = comparison.find(a, b, metric)
    assert entry is not None
    return entry


def kept(comparison):
    assert comparison.retention is not None
    return comparison.retention


def with_scores(gaps, examples="same", seed=0, others=None):
    """A seed whose ensemble gains ``gaps`` over a generalist that scores 0, and other models."""
    gaps = np.asarray(gaps, dtype=float)
    values = {"generalist": np.zeros_like(gaps), "ensemble": gaps} | (others or {})
    evaluation = evaluation_of(dict.fromkeys(values, model_scores()), len(gaps), seed)
    seconds = dict.fromkeys(values, 0.0)
    return SeedScores(evaluation, examples, {"top1": values, "nll": values}, seconds)


@pytest.mark.parametrize("same_examples", [True, False])
def test_a_difference_is_the_mean_over_seeds_inside_its_interval(same_examples):
    comparison = compared(same_examples=same_examples, ensemble=0.56)
    entry = difference(comparison, "ensemble", "generalist")
    assert entry.value == pytest.approx(np.mean(entry.values))
    assert entry.spread == pytest.approx(np.std(entry.values, ddof=1))
    (low, high), (lowest, highest) = entry.interval, entry.corrected_interval
    assert lowest < low < entry.value < high < highest
    assert low == pytest.approx(0.06, abs=0.03)
    summary = comparison.models["ensemble"].top1
    assert summary.mean == pytest.approx(np.mean(summary.values))


@pytest.mark.parametrize("same_examples", [True, False])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_an_interval_is_as_wide_as_the_noise_of_seeds_and_examples_says(same_examples, spread):
    k, n = 20, 400
    rng = np.random.default_rng(3)
    examples, shifts = rng.normal(size=n), spread * rng.normal(size=k)
    sets = ["same" if same_examples else str(i) for i in range(k)]
    comparison = compare_seeds(
        [with_scores(examples + shift, own) for shift, own in zip(shifts, sets, strict=True)]
    )
    entry = difference(comparison, "ensemble", "generalist")
    of_examples = examples.var() / (n if same_examples else n * k)
    for key, level in (("interval", 0.95), ("corrected_interval", 1 - 0.05 / 7)):
        t, z = stats.t.ppf((1 + level) / 2, k - 1), stats.norm.ppf((1 + level) / 2)
        half = np.sqrt(z**2 * of_examples + t**2 * shifts.var(ddof=1) / k)
        low, high = getattr(entry, key)
        assert (high - low) / 2 == pytest.approx(half, rel=0.1)
        assert (high + low) / 2 == pytest.approx(entry.value, abs=0.25 * half)


def test_two_seeds_without_noise_of_examples_have_the_interval_of_the_formula():
    gaps = [with_scores(np.full(50, gap)) for gap in (0.0, 0.01)]
    entry = difference(compare_seeds(gaps), "ensemble", "generalist")
    half = 0.005 * np.sqrt(2) * stats.t.ppf(0.975, 1) / stats.norm.ppf(0.975)
    assert entry.interval == pytest.approx([0.005 - half, 0.005 + half])
    end = 1 - 0.05 / 8 / 2
    half = 0.005 * np.sqrt(2) * stats.t.ppf(end, 1) / stats.norm.ppf(end)
    assert entry.corrected_interval == pytest.approx([0.005 - half, 0.005 + half])


def test_no_difference_of_shares_leaves_what_is_possible():
    gaps = [with_scores(np.full(50, gap)) for gap in (0.0, 1.0)]
    comparison = compare_seeds(gaps)
    assert difference(comparison, "ensemble", "generalist").interval == (-1, 1)
    assert difference(comparison, "ensemble", "generalist", "nll").interval[1] > 1


def test_seeds_may_have_different_numbers_of_examples():
    rng = np.random.default_rng(0)
    seeds_ = [with_scores(rng.normal(1, 1, n), str(n)) for n in (100, 900)]
    entry = difference(compare_seeds(seeds_), "ensemble", "generalist")
    assert entry.value == pytest.approx(np.mean(entry.values))


def test_one_seed_has_the_interval_of_its_examples():
    gaps = np.random.default_rng(0).normal(size=900)
    entry = difference(compare_seeds([with_scores(gaps)]), "ensemble", "generalist")
    low, high = entry.interval
    assert (high - low) / 2 == pytest.approx(1.96 * gaps.std() / 30, rel=0.1)


def test_all_models_are_compared_with_each_other_once():
    entries = compared(n_seeds=2).differences
    pairs = {frozenset((entry.a, entry.b)) for entry in entries}
    assert pairs == {frozenset(pair) for pair in itertools.combinations(COSTS, 2)}
    assert len(entries) == 2 * len(pairs)


@pytest.mark.parametrize(
    ("gain", "repeats", "low", "high"), [(0.0, 50, 0.0, 0.1), (0.15, 10, 0.8, 1.0)]
)
def test_luck_of_training_is_seldom_a_verdict_and_a_gain_is_one(gain, repeats, low, high):
    rng = np.random.default_rng(1)
    names = ["generalist", "ensemble", *(n for n in COSTS if n.startswith("generalist_"))]
    n, k = 400, 5
    told = 0
    for _ in range(repeats):
        luck = rng.random(n)
        several = []
        for seed in range(k):
            skills = 0.5 + 0.02 * rng.normal(size=len(names))
            skills[1] += gain
            base = seed_scores(seed, dict.fromkeys(names, 0.5), n)
            right = {
                name: (luck < skill).astype(float)
                for name, skill in zip(names, skills, strict=True)
            }
            scores = {"top1": right, "nll": right}
            several.append(dataclasses.replace(base, scores=scores))
        told += not text_of(compare_seeds(several, 400)).startswith("Keep the generalist")
    assert low <= told / repeats <= high


def test_one_seed_has_no_spread():
    comparison = compared(n_seeds=1)
    assert comparison.models["generalist"].top1.spread is None
    text = comparison_markdown(comparison)
    assert "verdict's intervals are at 99.4%, since the best of up to 8 is looked for" in text
    assert "±" not in text.partition("| model")[2]
    assert text.startswith("# made: 1 seed (0)\n")
    assert text_of(comparison).startswith("One seed cannot tell the luck of a training from a gain")


def test_the_name_of_the_data_is_plain_text_in_the_table_s_heading():
    comparison = dataclasses.replace(compared(), dataset="a|b\n<script>\x1b")
    head = comparison_markdown(comparison).partition("\n")[0]
    assert head == r"# a\|b \<script\>\\x1b: 3 seeds (0, 1, 2)"


def test_with_two_seeds_a_third_is_asked_for():
    assert text_of(compared(n_seeds=2)).startswith("Two seeds can hardly tell the luck of")
    assert "seeds can hardly" not in text_of(compared(n_seeds=3))


def test_seeds_of_other_data_are_refused():
    a, b = (seed_scores(s, dict.fromkeys(COSTS, 0.5)) for s in range(2))
    b = dataclasses.replace(b, evaluation=dataclasses.replace(b.evaluation, dataset="dame"))
    with pytest.raises(InputError, match=r"differ in their dataset\n.*dame"):
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
    said = text_of(compared(**skills))
    assert said.startswith(start)
    assert "pecialists" in said


def text_of(comparison):
    """What the verdict says, without the level that stands before each interval."""
    return verdict(comparison).text.replace("99.4% interval ", "")


def test_every_interval_of_a_verdict_says_its_level():
    told = verdict(made(WIDE_IS_BEST)).text
    assert told.startswith("Go wider: +6.00 points (99.4% interval +2.00 to +10.00) for ")
    assert told.count(" to +") == told.count("(99.4% interval ") > 2
    assert "points over the generalist (99.4% interval)" in option_lines(made({}))[0]


ENSEMBLE_IS_BEST = {("ensemble", "generalist"): (0.05, (0.01, 0.09))}


@pytest.mark.parametrize(
    ("gaps", "flops", "improving", "start"),
    [
        (
            {},
            {"generalist_continued": 0},
            (True,) * 3,
            "Train the generalist longer first: its last",
        ),
        ({}, {"generalist_continued": 0}, (True, True, False), "Keep the generalist: nothing"),
        ({}, {"generalist_continued": 0}, (), "Keep the generalist: nothing"),
        ({}, {}, (True,) * 3, "Keep the generalist: nothing"),
        (ENSEMBLE_IS_BEST, {"generalist_continued": 0}, (True,) * 3, "Use specialists: +5.00"),
    ],
)
def test_a_generalist_that_still_improved_is_trained_longer_before_it_is_kept(
    gaps, flops, improving, start
):
    """Unless training it longer was tried. Nothing that was measured is then advised."""
    comparison = dataclasses.replace(made(gaps, **flops), still_improving=improving)
    told = text_of(comparison)
    assert told.startswith(start)
    trained_on = start.startswith("Train")
    assert ("last epoch was its best" in told) == (trained_on or bool(gaps))
    assert any(option.is_advised for option in options(comparison)) != trained_on
    assert any("advised" in line for line in option_lines(comparison)) != trained_on


@pytest.mark.parametrize(("best", "improving"), [(2, False), (3, True)])
def test_whether_the_generalist_still_improved_is_read_from_its_training(tmp_path, best, improving):
    run = Run(tmp_path)
    write_text(run.config_file, "[generalist]\nepochs = 3\n")
    assert not is_still_improving(run)
    stage = run.path("train-generalist")
    widths = [{"width": 8, "chosen": False}, {"width": 16, "chosen": True}]
    write_json(stage / "widths.json", widths)
    write_json(stage / "units" / "width-16" / "result.json", {"best_epoch": best})
    write_text(stage / "metrics.jsonl", "".join(f'{{"epoch": {e}}}\n' for e in (1, 2, 3)))
    assert is_still_improving(run) == improving
    write_text(run.config_file, '[generalist]\npredictions = "probs.npy"\n')
    assert not is_still_improving(Run(tmp_path))


def made(gaps, admission="admitted", **flops):
    """A comparison of which all is known: ``gaps`` {(a, b): (value, corrected interval)}."""
    costs = {"generalist": 10, "ensemble": 25, "generalist_continued": 10}
    costs |= {"generalist_wide": 24, "generalist_ensemble": 30} | flops
    tops = {name: 0.4 + 0.01 * i for i, name in enumerate(costs)}
    models = {
        name: ModelSummary(
            top1=Summary(tops[name], 0.002, (tops[name],) * 2),
            top5=Summary(1.0, 0.0, (1.0,) * 2),
            nll=Summary(2.5, 0.01, (2.5,) * 2),
            parameters=1,
            inference_flops=cost,
            training_examples=100 if name == "generalist" else 250,
            training_flops=1000 if name == "generalist" else 2500,
            tuning_trials=4,
            training_seconds=65.0 if name == "generalist" else 195.0,
        )
        for name, cost in costs.items()
        if cost
    }
    names = list(models)
    differences = tuple(
        MeanDifference(
            a=a, b=b, metric=metric, value=value, spread=0.003, values=(value,) * 2,
            interval=(value - 0.01, value + 0.01), corrected_interval=ends,
        )
        for i, a in enumerate(names)
        for b in (names if a == "ensemble" else names[:i])
        if b != a and (a == "ensemble" or b != "ensemble")
        for metric, (value, ends) in {
            "nll": (9.0, (8.0, 10.0)),
            "top1": gaps.get((a, b), (0.0, (-0.02, 0.02))),
        }.items()
    )  # fmt: skip
    return Comparison(
        dataset="made", n_classes=9, n_test=(90,) * 3, n_groups=(90,) * 3, seeds=(0, 1, 2),
        admission=(admission,) * 3, models=models, retention=None, differences=differences,
    )  # fmt: skip


def changed(comparison, name, **values):
    """The comparison with other numbers of one model."""
    model = dataclasses.replace(comparison.models[name], **values)
    return dataclasses.replace(comparison, models={**comparison.models, name: model})


WIDE_IS_BEST = {
    ("ensemble", "generalist"): (0.05, (0.01, 0.09)),
    ("generalist_wide", "generalist"): (0.06, (0.02, 0.1)),
}


def cost(inference, seconds=3):
    """How the verdict tells it, over the generalist's, whose training takes 65 seconds."""
    return (
        f"for {inference:.2f} times the inference FLOPs and {duration(65 * seconds)} of training "
        "instead of 1 min 05 s"
    )


def test_a_verdict_gives_gain_interval_cost_and_the_difference_to_the_other():
    gaps = WIDE_IS_BEST | {("ensemble", "generalist_wide"): (-0.01, (-0.05, 0.03))}
    assert text_of(made(gaps)) == (
        f"Go wider: +6.00 points (+2.00 to +10.00) {cost(2.4)}. Specialists: +5.00 points (+1.00 "
        f"to +9.00) {cost(2.5)}. Against a wider generalist (2.40 times the inference FLOPs) "
        "specialists are \N{MINUS SIGN}1.00 points (\N{MINUS SIGN}5.00 to +3.00). " + WEIGHTS_KEPT
    )


def test_what_is_clear_is_said_by_the_corrected_interval():
    comparison = made({("ensemble", "generalist"): (0.05, (-0.001, 0.1))})
    assert difference(comparison, "ensemble", "generalist").interval[0] > 0
    assert text_of(comparison) == (
        "Keep the generalist: nothing that was tried is clearly better. Specialists: +5.00 points "
        f"(\N{MINUS SIGN}0.10 to +10.00) {cost(2.5)}."
    )


def test_specialists_are_set_against_every_baseline():
    gaps = {
        ("ensemble", "generalist"): (0.05, (0.01, 0.09)),
        ("ensemble", "generalist_continued"): (0.04, (0.02, 0.06)),
        ("ensemble", "generalist_ensemble"): (0.03, (0.01, 0.05)),
        ("ensemble", "generalist_ensemble_same_inference"): (0.02, (0.01, 0.03)),
    }
    assert text_of(made(gaps, generalist_ensemble_same_inference=30)) == (
        f"Use specialists: +5.00 points (+1.00 to +9.00) {cost(2.5)}. "
        "Against the generalist trained longer (1.00 times the inference FLOPs) specialists are "
        "+4.00 points (+2.00 to +6.00). Against a wider generalist (2.40 times the inference "
        "FLOPs) specialists are +0.00 points (\N{MINUS SIGN}2.00 to +2.00). Against averaged "
        "generalists (3.00 times the inference FLOPs) specialists are +3.00 points (+1.00 to "
        "+5.00). Against averaged generalists of the same inference (3.00 times the inference "
        "FLOPs) specialists are +2.00 points (+1.00 to +3.00)."
    )


def test_averages_that_are_the_same_models_are_told_once():
    gaps = {
        ("ensemble", "generalist"): (0.05, (0.01, 0.09)),
        ("ensemble", "generalist_ensemble"): (0.03, (0.01, 0.05)),
        ("ensemble", "generalist_ensemble_same_inference"): (0.03, (0.01, 0.05)),
    }
    text = text_of(made(gaps, generalist_ensemble_same_inference=30))
    assert text.count("averaged generalists") == 1
    assert "of the same inference" not in text


def test_a_few_averaged_generalists_are_a_baseline_of_the_verdict_and_of_the_table():
    few = "generalist_ensemble_same_inference"
    gaps = {
        ("ensemble", "generalist"): (0.05, (0.01, 0.09)),
        (few, "generalist"): (0.06, (0.02, 0.1)),
        ("ensemble", few): (-0.03, (-0.05, -0.01)),
    }
    comparison = made(gaps, generalist_ensemble_same_inference=20)
    assert text_of(comparison).startswith("Average a few generalists: +6.00 points")
    row = next(line for line in comparison_markdown(comparison).splitlines() if few in line)
    assert "+6.00" in row
    assert "\N{MINUS SIGN}3.00" in row
    scores = compared(n_seeds=2, generalist_ensemble_same_inference=0.45)
    pairs = {frozenset((entry.a, entry.b)) for entry in scores.differences}
    others = ("ensemble", "generalist", "generalist_continued", "generalist_wide")
    assert {frozenset((few, other)) for other in (*others, "generalist_ensemble")} <= pairs


LIKE_THE_ENSEMBLE = {
    ("ensemble", "generalist"): (0.05, (0.01, 0.09)),
    ("student", "generalist"): (0.04, (0.01, 0.07)),
}


def test_a_student_as_good_as_what_taught_it_is_what_to_run():
    gaps = LIKE_THE_ENSEMBLE | {
        ("ensemble", "student"): (0.01, (-0.01, 0.03)),
        ("student_hard_labels", "generalist"): (0.045, (-0.01, 0.1)),
        ("student", "student_hard_labels"): (-0.005, (-0.03, 0.02)),
    }
    assert text_of(made(gaps, student_hard_labels=10, student=10)) == (
        f"Deploy the student: +4.00 points (+1.00 to +7.00) {cost(1, 6)}. "
        "Over the same network with hard labels it is \N{MINUS SIGN}0.50 points "
        f"(\N{MINUS SIGN}3.00 to +2.00). Specialists: +5.00 points (+1.00 to +9.00) {cost(2.5)}. "
        "Against the student (1.00 times the inference FLOPs) specialists are "
        "+1.00 points (\N{MINUS SIGN}1.00 to +3.00). Larger, but not clearly, is "
        "the gain of the student's network with hard labels: +4.50 points (\N{MINUS SIGN}1.00 to "
        f"+10.00) {cost(1)}."
    )
    distilled = text_of(made(gaps, "refused", student=10))
    begin = f"Deploy the student: +4.00 points (+1.00 to +7.00) {cost(1, 4)}. Specialists stay out"
    assert distilled.startswith(begin)


def test_without_seconds_the_cost_of_training_is_told_in_flops():
    comparison = changed(made(LIKE_THE_ENSEMBLE, student=10), "generalist", training_seconds=0.0)
    told = "for 1.00 times the inference FLOPs and 6 min 30 s of training. "
    assert told in text_of(comparison)
    for name in ("ensemble", "student"):
        comparison = changed(comparison, name, training_seconds=0.0)
    told = "for 1.00 times the inference FLOPs and 5.0 times the training FLOPs. "
    assert told in text_of(comparison)
    comparison = changed(comparison, "generalist", training_flops=0)
    assert "for 1.00 times the inference FLOPs and 5k training FLOPs. " in text_of(comparison)


def test_each_option_has_its_gain_and_its_cost_and_one_is_advised():
    comparison = made(WIDE_IS_BEST, student=2)
    found = {option.advice: option for option in options(comparison)}
    advices = ["keep the generalist", "train longer", "go wider", "average generalists"]
    assert list(found) == [*advices, "use specialists", "deploy the student"]
    assert [advice for advice, option in found.items() if option.is_advised] == ["go wider"]
    assert found["go wider"].gain == difference(comparison, "generalist_wide", "generalist")
    assert (found["go wider"].inference, found["go wider"].seconds) == (2.4, 195)
    assert found["deploy the student"].seconds == 2 * 195
    assert found["keep the generalist"].gain is None
    lines = option_lines(comparison)
    assert [line.endswith("  <- advised") for line in lines].index(True) == 3
    assert "3 min 15 s" in lines[3]
    assert "+6.00 (+2.00 to +10.00)" in lines[3]
    assert len({len(line.partition("  <-")[0]) for line in lines}) == 1


def test_specialists_that_stay_out_are_an_option_without_a_gain():
    (refused,) = (o for o in options(made({}, "refused")) if o.name == "ensemble")
    assert refused.is_refused
    assert not refused.is_advised
    kept = next(o for o in options(made({}, "refused")) if o.name == "generalist")
    assert kept.is_advised
    assert "stay out" in next(line for line in option_lines(made({}, "refused")) if "use" in line)


def test_a_model_of_few_that_is_advised_is_an_option_too():
    few = "generalist_ensemble_same_inference"
    gaps = {(few, "generalist"): (0.06, (0.02, 0.1))}
    for found, is_told in ((gaps, True), ({}, False)):
        comparison = made(found, generalist_ensemble_same_inference=20)
        assert (few in [option.name for option in options(comparison)]) == is_told


@pytest.mark.parametrize(
    ("at_hand", "model"),
    [
        (("generalist_wide", "ensemble"), "generalist_wide"),
        (("ensemble",), "ensemble"),
        ((), "generalist"),
    ],
)
def test_the_best_model_at_hand_is_the_advised_one_or_the_next_that_is_better(at_hand, model):
    assert best_at_hand(made(WIDE_IS_BEST), at_hand.__contains__) == model


def test_a_student_that_hard_labels_match_needs_no_teacher():
    gaps = LIKE_THE_ENSEMBLE | {("student_hard_labels", "generalist"): (0.03, (0.01, 0.05))}
    told = text_of(made(gaps, student=10, student_hard_labels=10))
    assert told.startswith("Train the student's network with hard labels: +3.00 points")


def test_a_student_that_is_not_chosen_is_told_with_its_cost():
    gaps = LIKE_THE_ENSEMBLE | {("student", "generalist"): (-0.08, (-0.09, -0.07))}
    told = text_of(made(gaps, student=2, student_hard_labels=2))
    assert told.startswith("Use specialists: ")
    assert "Against the student" not in told
    assert told.endswith(
        "The student: \N{MINUS SIGN}8.00 points (\N{MINUS SIGN}9.00 to \N{MINUS SIGN}7.00) "
        f"{cost(0.2, 6)}."
    )


BOTH = {
    ("generalist_continued", "generalist"): (0.02, (0.01, 0.03)),
    ("generalist_wide", "generalist"): (0.06, (0.02, 0.1)),
}
WIDE_IS_CLEARLY_BEST = WIDE_IS_BEST | {("ensemble", "generalist_wide"): (-0.01, (-0.02, -0.001))}
AS_CHEAP = BOTH | {
    ("student_hard_labels", "generalist"): (0.03, (0.02, 0.04)),
    ("student_hard_labels", "generalist_continued"): (0.01, (0.005, 0.015)),
}
WIDE_ALONE = {("generalist_wide", "generalist"): (0.06, (0.02, 0.1))}


@pytest.mark.parametrize(
    ("gaps", "flops", "start"),
    [
        (BOTH, {}, "Train longer: "),
        (BOTH | {("generalist_wide", "generalist_continued"): (0.04, (0.01, 0.07))}, {}, "Go wide"),
        (WIDE_IS_BEST, {"ensemble": 23.8}, "Go wider"),
        (WIDE_IS_BEST, {"ensemble": 23}, "Use specialists"),
        (WIDE_IS_CLEARLY_BEST, {"ensemble": 23}, "Go wider"),
        (WIDE_ALONE, {"generalist_wide": 10.1}, "Train longer from the start: "),
        (AS_CHEAP, {"student_hard_labels": 10}, "Train the student's network with hard labels: "),
    ],
)
def test_the_cheapest_is_taken_of_those_not_clearly_worse_than_the_best(gaps, flops, start):
    assert text_of(made(gaps, **flops)).startswith(start)


def test_what_gains_more_at_no_more_inference_is_named_and_nothing_dearer():
    gaps = {
        ("generalist_continued", "generalist"): (0.02, (0.01, 0.03)),
        ("generalist_wide", "generalist"): (0.06, (-0.02, 0.1)),
        ("student_hard_labels", "generalist"): (0.03, (-0.02, 0.08)),
    }
    larger = "is the gain of the student's network with hard labels: +3.00"
    assert f"Larger, but not clearly, {larger}" in text_of(made(gaps, student_hard_labels=10))
    clearly = gaps | {("student_hard_labels", "generalist_continued"): (0.01, (0.005, 0.015))}
    assert f"Larger {larger}" in text_of(made(clearly, student_hard_labels=10))


def test_specialists_that_every_gate_refused_stay_out():
    out = "Specialists stay out: held-out rows do not show that they help."
    nothing = {("ensemble", "generalist"): (0.0, (0.0, 0.0))}
    gain = {("generalist_wide", "generalist"): (0.03, (0.01, 0.05))}
    kept = text_of(made(nothing, "refused", generalist_wide=10))
    assert kept.startswith("Keep the generalist")
    assert kept.endswith(out)
    wider = text_of(made(nothing | gain, "refused", generalist_wide=10))
    begin = f"Train longer from the start: +3.00 points (+1.00 to +5.00) {cost(1)}."
    assert wider == f"{begin} {out} {WEIGHTS_KEPT}"
    assert out not in text_of(dataclasses.replace(made(nothing), admission=("refused", "admitted")))


def test_without_baselines_this_is_said():
    for gaps in ({}, {("ensemble", "generalist"): (0.05, (0.01, 0.09))}):
        alone = made(
            gaps,
            generalist_continued=0,
            generalist_wide=0,
            generalist_ensemble=0,
            student=2,
            student_hard_labels=2,
        )
        assert "No baseline was trained" in text_of(alone)
        assert "No baseline was trained" not in text_of(made(gaps))
        given = changed(alone, "generalist", parameters=0)
        assert "No baseline can be trained" in text_of(given)
        unknown = changed(given, "generalist", inference_flops=math.nan)
        assert "nan" not in comparison_markdown(unknown)
        assert "evaluation.baselines" not in text_of(given)


def test_a_row_of_the_table():
    gaps = WIDE_IS_BEST | {("ensemble", "generalist_wide"): (-0.01, (-0.05, 0.03))}
    assert (
        "| `generalist_wide` | 43.00 ± 0.20 | +6.00 ± 0.30 [+5.00 to +7.00] | "
        "\N{MINUS SIGN}1.00 ± 0.30 [\N{MINUS SIGN}2.00 to +0.00] | "
        "2.500 ± 0.010 | 2.40x | 2.5k | 250 | 3 min 15 s | 4 |"
    ) in comparison_markdown(made(gaps))


@pytest.mark.parametrize("ensemble", [0.6, 0.4])
def test_the_student_s_share_is_told_only_where_there_is_something_to_keep(ensemble):
    comparison = compared(ensemble=ensemble)
    text = comparison_markdown(comparison)
    if ensemble == 0.4:
        assert "What the student keeps cannot be said" in text
        return
    student, hard, best = (
        comparison.models[name].top1.mean for name in ("student", "student_hard_labels", "ensemble")
    )
    share = (student - hard) / (best - hard)
    assert share == pytest.approx(0.25, abs=0.05)
    assert kept(comparison).value == pytest.approx(share)
    low, high = kept(comparison).interval
    assert 0.15 < low < share < high < 0.35
    ends = f"[{100 * low:.0f}% to {100 * high:.0f}%]"
    assert f"The student keeps {100 * share:.0f}% {ends} of the ensemble's gain" in text


@pytest.mark.parametrize(
    ("value", "interval", "words"),
    [
        (-0.5, (-1.06, -0.02), "no better than the same network with hard labels: it keeps none"),
        (0.0, (-0.1, 0.1), "no better than the same network with hard labels: it keeps none"),
        (0.04, (-0.04, 0.1), "not clearly better than the same network with hard labels: whether"),
    ],
)
def test_of_a_student_that_is_not_clearly_better_no_share_is_told(value, interval, words):
    share = ShareKept(value, interval)
    comparison = dataclasses.replace(compared(ensemble=0.6), retention=share)
    told = retention_sentence(comparison)
    assert told.startswith(f"The student is {words}")
    assert "%" not in told
    assert told in comparison_markdown(comparison)


def test_the_student_s_share_moves_with_its_seeds_and_examples():
    """A student that keeps exactly half on every seed and example keeps half in every draw."""
    rng = np.random.default_rng(0)
    seeds = []
    for i in range(4):
        gain = 0.5 + 0.3 * rng.normal(size=500) + 0.1 * rng.normal()
        others = {"student": gain / 2, "student_hard_labels": np.zeros(500)}
        seeds.append(with_scores(gain, str(i), i, others))
    share = kept(compare_seeds(seeds))
    assert (share.value, *share.interval) == pytest.approx((0.5, 0.5, 0.5))


def test_the_student_s_share_is_resampled_as_a_whole():
    seed = seed_scores(0, {"generalist": 0.5, "ensemble": 0.6} | STUDENTS)
    right = seed.scores["top1"]
    hard = right["student_hard_labels"]
    drawn = np.random.default_rng(7).integers(0, len(hard), (2000, len(hard)))
    share, gain = ((right[name] - hard)[drawn].mean(axis=1) for name in ("student", "ensemble"))
    expected = np.quantile(share / gain, [0.025, 0.975])
    assert kept(compare_seeds([seed])).interval == pytest.approx(expected, abs=0.01)
    for ensemble in (0.3, 0.4):  # clearly less than hard labels; as good
        nothing = seed_scores(0, {"generalist": 0.5, "ensemble": ensemble} | STUDENTS)
        assert compare_seeds([nothing]).retention is None


def test_some_missing_baselines_are_named():
    told = text_of(made({}, generalist_wide=0))
    assert "Not trained, so not known: a wider generalist (`--set evaluation.baselines=all`" in told
    assert "Not trained" not in text_of(made({}))


def test_the_figure_shows_accuracy_against_cost(monkeypatch):
    drawn = []
    draw = markdown.accuracy_against_cost
    monkeypatch.setattr(
        markdown,
        "accuracy_against_cost",
        lambda spots, lines: drawn.extend(spots) or draw(spots, lines),
    )
    comparison = compared(n_seeds=2, ensemble=0.6)
    assert "(line: range over seeds)" in comparison_figure(comparison)
    assert [spot.name for spot in drawn] == list(COSTS)
    for spot in drawn:
        top1 = comparison.models[spot.name].top1
        assert spot.top1 == top1.mean
        assert spot.interval == (min(top1.values), max(top1.values))
        assert spot.inference_flops == COSTS[spot.name][0]


def test_training_time_is_that_of_the_trainings_that_made_a_model(tmp_path):
    for i, folder in enumerate(("base", "more", "other")):
        lines = [json.dumps({"epoch": epoch, "seconds": 10.0**i / 2}) for epoch in range(2)]
        write_text(tmp_path / folder / "timing.jsonl", "\n".join([*lines, '{"epoch": 2, "sec']))
    half = {"epoch": 1, "seconds": 30.0, "machine_share": 0.5}
    write_text(tmp_path / "half" / "timing.jsonl", json.dumps(half))
    trainings = {"generalist": ["base"], "ensemble": ["base", "more", "gone"], "given": []}
    trainings["student"] = ["base", "half"]
    write_json(tmp_path / "evaluate-models/trainings.json", trainings)
    expected = {"generalist": 1.0, "ensemble": 11.0, "given": 0.0, "student": 16.0}
    assert training_seconds(Run(tmp_path)) == expected


@pytest.mark.parametrize(
    ("flops", "seconds", "said"),
    [(2.0, 2.9, False), (2.0, 3.1, True), (1.0, 0.67, False), (1.0, 0.66, True), (2.0, 1.0, True)],
)
def test_seconds_that_differ_from_flops_by_half_as_much_again_are_told(flops, seconds, said):
    wide, student = "generalist_wide", "student"  # a student is not matched by FLOPs
    models = {
        name: dataclasses.replace(model_scores(), training_flops=300 * value)
        for name, value in {"generalist": 1.0, "ensemble": 1.0, wide: flops, student: 1.0}.items()
    }
    times = {"generalist": 0.0, "ensemble": 10.0, wide: 10 * seconds, student: 100.0}
    assert unlike_flops(models, times) == ({wide: (flops, seconds)} if said else {})
    words = f"{wide} took {flops:.2f} times the FLOPs and {seconds:.2f} times the seconds"
    assert (words in time_sentence(models, times)) == said


def test_what_averages_of_the_same_trainings_took_is_said_once():
    names = ("generalist_ensemble", "generalist_ensemble_same_inference")
    costs = {"generalist": 1, "ensemble": 10} | dict.fromkeys((*names, "generalist_wide"), 5)
    models = {name: model_scores(examples=10 * flops) for name, flops in costs.items()}
    seconds = {"ensemble": 10.0, "generalist_wide": 20.0} | dict.fromkeys(names, 10.0)
    told = time_sentence(models, seconds)
    both = f"{names[0]} and {names[1]} took 0.50 times the FLOPs and 1.00 times the seconds."
    assert told.endswith(
        f"generalist_wide took 0.50 times the FLOPs and 2.00 times the seconds; {both}"
    )


def test_the_table_has_a_row_a_model_and_the_figure_is_svg():
    comparison = compared(ensemble=0.6)
    text = comparison_markdown(comparison)
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(comparison.models)
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
    text = comparison_markdown(dataclasses.replace(compared(ensemble=0.6), admission=gates))
    assert ("answers like its generalist" in text) == (told is not None)
    assert told is None or told in text


def test_seeds_of_groups_have_wider_intervals_and_are_told():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    gaps = rng.normal(size=40)[groups] + 0.1 * rng.normal(size=1000)
    own = [with_scores(gaps, seed=i) for i in range(2)]
    grouped = [dataclasses.replace(seed, groups=groups) for seed in own]
    alone, together = (compare_seeds(seeds_) for seeds_ in (own, grouped))
    widths = [
        np.ptp(difference(c, "ensemble", "generalist", "nll").interval) for c in (alone, together)
    ]
    assert widths[1] / widths[0] == pytest.approx(5, rel=0.15)
    assert (alone.n_groups, together.n_groups) == ((1000, 1000), (40, 40))
    text = comparison_markdown(together)
    assert "9 classes; 1,000 test examples in 40 groups; top-1" in text
    assert "over seeds and groups of test examples]" in text
    assert "group" not in comparison_markdown(alone)


def test_few_groups_of_one_seed_have_students_interval():
    groups = np.arange(300) % 6
    gaps = np.random.default_rng(0).normal(size=6)[groups]
    seed = dataclasses.replace(with_scores(gaps), groups=groups)
    comparison = compare_seeds([seed], n_bootstrap=40_000)
    entry = difference(comparison, "ensemble", "generalist", "nll")
    for key, level in (("interval", 0.95), ("corrected_interval", 1 - 0.05 / 7)):
        expected = stats.t.interval(level, 5, gaps[:6].mean(), stats.sem(gaps[:6]))
        assert getattr(entry, key) == pytest.approx(expected, abs=0.08 * np.ptp(expected))
    text = comparison_markdown(comparison)
    assert "300 test examples in 6 groups: no test; " in text
    assert "groups of test examples (fewer than 20: Student's t)]" in text


def test_a_seed_brings_the_groups_of_its_test_examples(tmp_path):
    run = Run(tmp_path)
    assert groups_of(run, "test") is None
    write_array(run.path("prepare-data", "test.groups.npy"), np.array([4, 4, 7]))
    found = groups_of(run, "test")
    assert found is not None
    assert found.tolist() == [4, 4, 7]


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ({"nll": 2.75}, ", no better than the generalist in NLL (2.750 against 2.500 nats)"),
        ({"top1": 0.3}, ", no better than the generalist in top-1 (30.00% against 40.00%)"),
        (
            {"top1": 0.3, "nll": 2.75},
            ", no better than the generalist in top-1 (30.00% against 40.00%) and in NLL (2.750 "
            "against 2.500 nats)",
        ),
        ({"top1": 0.6, "nll": 1.9}, ""),
    ],
)
def test_a_baseline_that_is_no_better_than_the_generalist_is_flagged(flaw, words):
    flaw = {metric: Summary(value, None, (value,)) for metric, value in flaw.items()}
    comparison = changed(
        made({("ensemble", "generalist"): (0.05, (0.01, 0.09))}), "generalist_wide", **flaw
    )
    assert (
        f"Against a wider generalist (2.40 times the inference FLOPs{words}) specialists are"
        in text_of(comparison)
    )


@pytest.mark.parametrize(
    ("gaps", "tone"),
    [
        ({("ensemble", "generalist"): (0.05, (0.01, 0.09))}, "good"),
        (WIDE_IS_BEST, "unclear"),
        ({("ensemble", "generalist"): (0.05, (-0.01, 0.09))}, "unclear"),
        ({("ensemble", "generalist"): (-0.05, (-0.09, -0.01))}, "bad"),
        (WIDE_ALONE | {("ensemble", "generalist"): (-0.05, (-0.09, -0.01))}, "bad"),
    ],
)
def test_the_tone_of_a_verdict_is_that_of_the_specialists(gaps, tone):
    assert verdict(made(gaps)).tone == tone


def test_a_comparison_comes_back_from_json():
    for comparison in (compared(n_seeds=1), compared(ensemble=0.6)):
        written = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
        assert Comparison.from_dict(written) == comparison
        assert "top1_any_valid" not in written["models"]["student"]
        assert {"spread", "mean", "values"} == set(written["models"]["student"]["top1"])
