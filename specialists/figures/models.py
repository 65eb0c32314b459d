"""Accuracy, cost, calibration, classes and training of each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from specialists.escaping import readable
from specialists.evaluation.scores import Bin
from specialists.figures import style
from specialists.figures.label_placement import label_beside, place_labels

MAX_CLASSES_A_SIDE = 12


@dataclass(frozen=True)
class CostPoint:
    """One model of the figure of accuracy against cost; FLOPs are per example, and positive."""

    name: str
    inference_flops: float
    top1: float
    interval: tuple[float, float]


def accuracy_against_cost(points: Sequence[CostPoint], lines: str = "95% interval") -> Figure:
    """Top-1 against FLOPs per example on a logarithmic axis.

    ``lines`` says what the points' intervals are; it is empty where they have none. Models that
    are the same point share a label.
    """
    figure, axes = style.one_panel(4.6)
    for point in points:
        x, colour = point.inference_flops, style.model_colour(point.name)
        style.draw_interval(axes, x, point.interval, point.name)
        axes.plot(x, 100 * point.top1, "o", color=colour, markersize=6)
    axes.margins(x=0.18, y=0.12)
    style.log_axis(axes)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
    axes.set_xlabel("inference cost, FLOPs per example (log scale)")
    axes.set_ylabel("top-1 accuracy, %" + f" (line: {lines})" * bool(lines))
    style.quieten(axes)
    names: dict[tuple[float, float, tuple[float, float]], list[str]] = {}
    for p in points:
        names.setdefault((p.inference_flops, p.top1, p.interval), []).append(p.name)
    labels = [
        label_beside(" and\n".join(map(style.model_label, some)), *place, some[-1])
        for place, some in names.items()
    ]
    place_labels(figure, {axes: labels})
    return figure


def reliability_diagrams(bins: Mapping[str, Sequence[Bin]]) -> Figure:
    """Accuracy against confidence for each model; on the diagonal a model knows what it knows."""
    figure, panels = style.panel_grid(len(bins), min(4, max(2, len(bins))), 0.35, shared=True)
    for axes, (name, rows) in zip(panels, bins.items(), strict=False):
        _reliability(axes, name, rows)
    figure.supxlabel("confidence", fontsize=style.FONT_SIZE)
    figure.supylabel("accuracy", fontsize=style.FONT_SIZE)
    return figure


def _reliability(axes: Axes, name: str, bins: Sequence[Bin]) -> None:
    used = [b for b in bins if b.n]
    total = sum(b.n for b in used)
    widths = [b.high - b.low for b in used]
    shares = [b.n / total for b in used]
    axes.bar([b.low for b in used], shares, widths, align="edge", color=style.FAINT, linewidth=0)
    axes.plot([0, 1], [0, 1], color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    confidence, accuracy = [b.confidence or 0.0 for b in used], [b.accuracy or 0.0 for b in used]
    colour = style.model_colour(name)
    axes.plot(confidence, accuracy, "o-", color=colour, markersize=3.5, linewidth=1.4)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_title(style.model_label(name))
    style.quieten(axes, grid=None)


def class_changes(
    names: Sequence[str], changes: Mapping[str, Sequence[float | None]], base: str
) -> Figure:
    """Classes that gain and lose most right answers against ``base``, a panel for each model.

    ``changes`` has C differences of counts for each model; None without examples.
    """
    chosen = {model: _largest_changes(values) for model, values in changes.items()}
    n_rows = max((len(rows) for rows in chosen.values()), default=1)
    figure = style.new_figure(1.15 + 0.2 * max(n_rows, 3))
    panels = figure.subplots(1, len(changes), squeeze=False)[0]
    for axes, (model, rows) in zip(panels, chosen.items(), strict=True):
        draw_changes(axes, [(names[j], value) for j, value in rows], max(n_rows, 3))
        axes.set_title(f"{style.model_label(model)}\nagainst {style.model_label(base)}")
        axes.set_xlabel("right answers more")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure


def draw_changes(axes: Axes, changes: Sequence[tuple[str, float]], n_rows: int) -> None:
    """Bars of names and values, gains blue and losses red, in a panel with room for ``n_rows``."""
    values = [value for _, value in changes]
    colours = [style.BLUE if value > 0 else style.VERMILION for value in values]
    axes.barh(range(len(values)), values, color=colours, height=0.7)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    style.name_rows(axes, [style.shorten(readable(name), 24) for name, _ in changes], n_rows)
    style.quieten(axes, grid="x")


def _largest_changes(values: Sequence[float | None]) -> list[tuple[int, float]]:
    known = sorted(((j, v) for j, v in enumerate(values) if v), key=lambda change: -change[1])
    gains = [change for change in known if change[1] > 0]
    losses = [change for change in known if change[1] < 0]
    return gains[:MAX_CLASSES_A_SIDE] + losses[-MAX_CLASSES_A_SIDE:]


History = Sequence[Mapping[str, float | None]]


def training_curves(panels: Mapping[str, Sequence[History]]) -> Figure:
    """Training and validation loss by epoch, one panel for each kind of model.

    A history is a list of {"epoch", "train_loss", "validation_loss"}, losses in nats, None where
    there is none. Many histories in a panel (the specialists) are drawn thin.
    """
    figure, grid = style.panel_grid(len(panels), 3, 0.5)
    for axes, (title, histories) in zip(grid, panels.items(), strict=False):
        _draw(axes, title, histories)
    figure.supxlabel("epoch", fontsize=style.FONT_SIZE)
    figure.supylabel("loss, nats", fontsize=style.FONT_SIZE)
    best = Line2D([], [], color=style.VERMILION, marker="o", markersize=5, linestyle="")
    lines = [Line2D([], [], color=style.GREY), Line2D([], [], color=style.BLUE), best]
    style.legend_above(figure, lines, ["training", "validation", "epoch that was kept"])
    return figure


def _draw(axes: Axes, title: str, histories: Sequence[History]) -> None:
    many = len(histories) > 1
    width, alpha = (0.7, 0.55) if many else (1.5, 1.0)
    for history in histories:
        losses: list[tuple[float, float]] = []
        for key, colour in (("train_loss", style.GREY), ("validation_loss", style.BLUE)):
            losses = [(e["epoch"] or 0, y) for e in history if (y := e.get(key)) is not None]
            if losses:
                axes.plot(*zip(*losses, strict=True), color=colour, linewidth=width, alpha=alpha)
        if losses:  # of validation
            best = min(losses, key=lambda point: point[1])
            axes.plot(*best, "o", color=style.VERMILION, markersize=2.5 if many else 5)
    axes.set_title(f"{title} ({len(histories)})" if many else title)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    style.quieten(axes)
