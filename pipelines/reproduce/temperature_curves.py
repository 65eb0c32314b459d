"""Section 3: which temperature suits students of which size? One seed, one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from specialists.escaping import markdown_rows
from specialists.figures import Curve, curves_in_panels, to_svg_file

from .kept_training import KeptModel
from .lessons import Lesson
from .paper_mnist import MAIN_ALPHA, large_lesson
from .paper_tables import PaperLine, PaperTable
from .reproduction import Reproduction

Errors = Mapping[int, Mapping[float, int]]  # by width, then by temperature
Kept = dict[int, dict[float, KeptModel]]
QUESTION = (
    "Section 3: which temperature suits students of which size? The paper: with 300 or more units "
    "in a layer all temperatures above 8 gave fairly similar results; with 30, temperatures of 2.5 "
    "to 4 worked significantly better than higher or lower ones."
)
ALIKE, HIGH, FLOOR = 300, 8.0, 0.002  # units; temperature; of the test rows
LOW, UP = 2.5, 4.0  # the temperatures that suit the smallest students


def reproduce_temperatures(work: Reproduction) -> PaperTable:
    """Test errors over the temperature for each width of the student."""
    seed = work.seeds[0]
    plan, n_test = work.plan, len(work.test_labels)
    work.train([large_lesson(work, seed)])
    cases = [(width, t) for width in plan.curve_widths for t in plan.curve_temperatures]
    models = work.train([_student(work, width, t) for width, t in cases])
    alone = work.train([_alone(work, width) for width in plan.curve_widths])
    hard = dict(zip(plan.curve_widths, (model.errors() for model in alone), strict=True))
    kept: Kept = {width: {} for width in plan.curve_widths}
    for (width, t), model in zip(cases, models, strict=True):
        kept[width][t] = model
    errors = {width: {t: m.errors() for t, m in of.items()} for width, of in kept.items()}
    smallest = kept[min(kept)]
    text = (
        "The paper prints no errors here, and does not say how long its students learned. Ours "
        "have one seed: what is inside the interval above is noise of the test digits alone.",
        _table(errors, hard),
    )
    shown = "Test errors over the temperature, for each width of the student"
    figure = to_svg_file(_figure(errors, hard), shown)
    how = _how(work)
    lines = (
        *_alike(errors, n_test, how),
        _best_of(min(kept), smallest, how),
        _saved(work, smallest),
    )
    return PaperTable(
        "temperatures",
        "MNIST: the temperature",
        lines,
        text,
        work.seconds,
        {shown: figure},
        QUESTION,
    )


def _student(work: Reproduction, width: int, temperature: float) -> Lesson:
    seed, plan = work.seeds[0], work.plan
    return Lesson(
        f"width-{width}-temperature-{temperature:g}-seed-{seed}",
        work.perceptron(width),
        plan.recipe(plan.curve_epochs),
        seed,
        teachers=(large_lesson(work, seed),),
        temperature=temperature,
        alpha=1.0 if math.isinf(temperature) else MAIN_ALPHA,
    )


def _alone(work: Reproduction, width: int) -> Lesson:
    seed, plan = work.seeds[0], work.plan
    name = f"width-{width}-labels-seed-{seed}"
    return Lesson(name, work.perceptron(width), plan.recipe(plan.curve_epochs), seed)


def _alike(errors: Errors, n_test: int, how: str) -> tuple[PaperLine, ...]:
    """Whether temperatures above 8 have similar errors, for students of 300 units or more."""
    lines = []
    for width, of in errors.items():
        if width >= ALIKE:
            high = [n for t, n in of.items() if HIGH < t < math.inf]
            apart = max(high) - min(high)
            most = max(1, round(FLOOR * n_test))
            lines.append(
                PaperLine(
                    f"{width} units: errors between the best and the worst T above 8",
                    "fairly similar",
                    [apart],
                    how,
                    0,
                    goal=f"at most {most}",
                    reached=apart <= most,
                )
            )
    return tuple(lines)


def _best(of: Mapping[float, KeptModel]) -> float:
    """The temperature with the fewest errors among validation digits."""
    return min(of, key=lambda t: of[t].errors("validation"))


def _best_of(width: int, of: Mapping[float, KeptModel], how: str) -> PaperLine:
    best = _best({t: model for t, model in of.items() if math.isfinite(t)})
    return PaperLine(
        f"{width} units: the best T",
        "2.5 to 4",
        [best],
        f"{how}; validation digits choose T",
        1,
        goal="2.5 to 4",
        reached=LOW <= best <= UP,
    )


def _saved(work: Reproduction, of: Mapping[float, KeptModel]) -> PaperLine:
    """How many errors the best T that suits the smallest saves over the best of the others.

    Chosen by the errors that are compared, each would look better than it is, and the one that is
    the best of more temperatures by more.
    """
    inner = {t: model for t, model in of.items() if LOW <= t <= UP}
    outer = {t: model for t, model in of.items() if not LOW <= t <= UP and math.isfinite(t)}
    best, other = (models[_best(models)] for models in (inner, outer))
    width, n_test = min(work.plan.curve_widths), len(work.test_labels)
    right, of_other = work.drawn_means([best.right()], [other.right()])
    low, high = (n_test * end for end in work.interval(right - of_other))
    return PaperLine(
        f"{width} units: errors that the best T of 2.5 to 4 saves over the best other T",
        "significantly better",
        [other.errors() - best.errors()],
        "of the same students; validation digits choose both T, and the interval is over test "
        "digits alone",
        0,
        goal="clearly more than 0",
        reached=low > 0,
        interval=(low, high),
    )


def _how(work: Reproduction) -> str:
    return (
        f"one seed, {work.plan.curve_epochs} epochs, {MAIN_ALPHA:.0%} of the loss from soft "
        "targets of the large network; at T = inf logits are matched, without labels"
    )


def _table(errors: Errors, hard: Mapping[int, int]) -> str:
    temperatures = list(next(iter(errors.values())))
    header = ("units in a layer", "hard labels", *(f"T = {t:g}" for t in temperatures))
    rows: list[Sequence[str]] = [
        (f"{width:,}", str(hard[width]), *(str(of[t]) for t in temperatures))
        for width, of in errors.items()
    ]
    return "Test errors of one seed:\n\n" + markdown_rows(header, rows)


def _figure(errors: Errors, hard: Mapping[int, int]):
    panels = {}
    places: dict[float, str] = {}
    for width, of in errors.items():
        largest = max(t for t in of if math.isfinite(t))
        xs = [t if math.isfinite(t) else 2 * largest for t in of]
        places |= {x: f"{t:g}".replace("inf", "logits") for x, t in zip(xs, of, strict=True)}
        panels[f"{width:,} units in a layer"] = [
            Curve("soft targets", xs, list(of.values())),
            Curve("hard labels", [], [hard[width]]),
        ]
    return curves_in_panels(panels, "temperature (log scale)", "test errors", places)
