"""Section 2.1: matching logits is the limit of soft targets at a high temperature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from specialists.escaping import markdown_rows
from specialists.figures import Curve, curves_in_panels, to_svg_file

from .logit_matching import (
    MatchedLogits,
    centred,
    exact_gradient,
    gradient_2,
    gradient_3,
    gradient_4,
    relative_difference,
)
from .paper_mnist import large_lesson, small_lesson
from .paper_tables import PaperLine, PaperTable
from .reproduction import Reproduction

QUESTION = (
    "Section 2.1: at a high temperature the gradient of soft targets (equation 2) becomes that of "
    "matching logits: 1 + x stands for an exponential (equation 3), and logits have mean 0 "
    "(equation 4). How high is high?"
)
TEMPERATURES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
NAMED = (20, 100, 1000)
N_ROWS = 2000
Approximation = Callable[[Tensor, Tensor, float], Tensor]


def reproduce_logits(work: Reproduction) -> PaperTable:
    """How far are equations 3 and 4 from the gradient, along T?"""
    seed = work.seeds[0]
    (large,) = work.train([large_lesson(work, seed)])
    (small,) = work.train([small_lesson(work, seed)])
    raw = [m.outputs("validation")[:N_ROWS].double() for m in (small, large)]
    z, v = map(centred, raw)
    second = max(_difference(gradient_2, z, v, t) for t in TEMPERATURES)
    third, uncentred = (_along(approximate, *raw) for approximate in (gradient_3, gradient_4))
    fourth = _along(gradient_4, z, v)
    lines = [
        _gradient_line(second),
        *(_line(t, fourth[TEMPERATURES.index(t)]) for t in NAMED),
        _loss_line(z, v),
    ]
    named = {
        "equation 3": third,
        "equation 4, centred": fourth,
        "equation 4, not centred": uncentred,
    }
    curves = [Curve(name, TEMPERATURES, values) for name, values in named.items()]
    slope = np.polyfit(np.log(TEMPERATURES[-5:]), np.log(fourth[-5:]), 1)[0]
    text = (
        "Logits of the small network with hard labels (z) and of the large one (v) for "
        f"{len(z):,} validation digits. At high temperatures the difference of equation 4 falls as "
        f"T to the power {slope:.2f}: a limit of first order, as is the paper's 1 + x in place of "
        "an exponential. Logits must be centred, each row by itself, before equation 4 holds; for "
        "centred ones it equals equation 3.",
        _table(curves),
    )
    shown = "Relative difference of equations 3 and 4 from the gradient over the temperature"
    y_label = "relative difference (log scale)"
    figure = curves_in_panels({"": curves}, "temperature (log scale)", y_label, log_y=True)
    title = "Logit matching is the limit of soft targets"
    drawings = {shown: to_svg_file(figure, shown)}
    return PaperTable("logits", title, tuple(lines), text, work.seconds, drawings, QUESTION)


def _along(approximate: Approximation, z: Tensor, v: Tensor) -> list[float]:
    """The difference at each temperature."""
    return [_difference(approximate, z, v, t) for t in TEMPERATURES]


def _difference(approximate: Approximation, z: Tensor, v: Tensor, t: float) -> float:
    """Median over rows of the relative difference from the exact gradient."""
    return float(relative_difference(approximate(z, v, t), exact_gradient(z, v, t)).median())


def _gradient_line(difference: float) -> PaperLine:
    return PaperLine(
        "largest relative difference of equation 2 from automatic differentiation",
        "",
        [difference * 1e12],
        "double precision, times 1e12, the worst temperature",
        3,
        goal="below 100",
        reached=difference < 1e-10,
    )


def _line(temperature: int, difference: float) -> PaperLine:
    how = "median over digits of |(z - v) / (N T^2) - gradient| / |gradient|"
    what = f"relative difference of equation 4 at T = {temperature:,}"
    return PaperLine(what, "", [100 * difference], how, 2, "%")


def _loss_line(z: Tensor, v: Tensor) -> PaperLine:
    """The loss, too: T^2 KL against the squared difference of logits."""
    from specialists.losses import DistillationLoss

    t = float(TEMPERATURES[-1])
    soft = float(DistillationLoss(t, 1.0)(z, v))
    matched = float(MatchedLogits()(z, v))
    how = f"T^2 KL at T = {t:,.0f} over the mean squared difference of centred logits, halved"
    ratio = soft / matched
    what = "loss of soft targets over that of matched logits"
    return PaperLine(what, "", [ratio], how, 4, goal="1 ± 0.01", reached=abs(ratio - 1) < 0.01)


def _table(curves: Sequence[Curve]) -> str:
    rows = [
        (f"{t:,}", *(_per_cent(curve.ys[i]) for curve in curves))
        for i, t in enumerate(TEMPERATURES)
    ]
    return markdown_rows(("T", *(curve.name for curve in curves)), rows)


def _per_cent(difference: float) -> str:
    return f"{100 * difference:,.0f}%" if difference >= 1 else f"{100 * difference:.3g}%"
