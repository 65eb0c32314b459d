"""Section 2.1: matching logits is the limit of soft targets at a high temperature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

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
from .paper_tables import PaperLine, PaperTable, markdown_rows
from .reproduction import Reproduction

TEMPERATURES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
NAMED = (20, 100, 1000)
N_ROWS = 2000
Approximation = Callable[[Tensor, Tensor, float], Tensor]


def reproduce_logits(work: Reproduction) -> PaperTable:
    """How far are equations 3 and 4 from the gradient, along T?"""
    seed = work.seeds[0]
    (large,) = work.train([large_lesson(work, seed)])
    (small,) = work.train([small_lesson(work, seed)])
    z, v = (centred(m.outputs("validation")[:N_ROWS].double()) for m in (small, large))
    second = max(_difference(gradient_2, z, v, t) for t in TEMPERATURES)
    third = [_difference(gradient_3, z, v, t) for t in TEMPERATURES]
    fourth = [_difference(gradient_4, z, v, t) for t in TEMPERATURES]
    lines = [
        PaperLine(
            "largest relative difference of equation 2 from automatic differentiation",
            "0",
            [second * 1e12],
            "double precision, times 1e12, the worst temperature",
            3,
            goal="below 100",
            reached=second < 1e-10,
        ),
        *(_line(t, fourth[TEMPERATURES.index(t)]) for t in NAMED),
        _loss_line(z, v),
    ]
    slope = np.polyfit(np.log(TEMPERATURES[-5:]), np.log(fourth[-5:]), 1)[0]
    text = (
        "Logits of the small network with hard labels (z) and of the large one (v) for "
        f"{len(z):,} validation digits, each row centred. At high temperatures the difference of "
        f"equation 4 falls as T to the power {slope:.2f}: a limit of first order, as is "
        "the paper's 1 + x in place of an exponential.",
        _table(third, fourth),
    )
    shown = "Relative difference of equations 3 and 4 from the gradient over the temperature"
    curves = [
        Curve(name, TEMPERATURES, values)
        for name, values in (("equation 3", third), ("equation 4", fourth))
    ]
    y_label = "relative difference (log scale)"
    figure = curves_in_panels({"": curves}, "temperature (log scale)", y_label, log_y=True)
    title = "Logit matching is the limit of soft targets"
    drawings = {shown: to_svg_file(figure, shown)}
    return PaperTable("logits", title, tuple(lines), text, work.cpu_minutes, drawings)


def _difference(approximate: Approximation, z: Tensor, v: Tensor, t: float) -> float:
    """Median over rows of the relative difference from the exact gradient."""
    return float(relative_difference(approximate(z, v, t), exact_gradient(z, v, t)).median())


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
    return PaperLine(what, "1", [ratio], how, 4, goal="1 ± 0.01", reached=abs(ratio - 1) < 0.01)


def _table(third: list[float], fourth: list[float]) -> str:
    rows = [
        (f"{t:,}", f"{100 * a:.3g}%", f"{100 * b:.3g}%")
        for t, a, b in zip(TEMPERATURES, third, fourth, strict=True)
    ]
    return markdown_rows(("T", "equation 3", "equation 4"), rows)
