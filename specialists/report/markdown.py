"""What do several seeds say together? A table and a figure, and the verdict below them."""

from __future__ import annotations

import math

from specialists.catalogue import ALTERNATIVES, ENSEMBLE, GENERALIST
from specialists.escaping import markdown, markdown_rows
from specialists.evaluation import Comparison
from specialists.evaluation.several_seeds import CORRECTED_LEVEL, MeanDifference, Summary
from specialists.figures import CostPoint, accuracy_against_cost, to_svg_file
from specialists.report.measured_times import times_cell, times_note, times_title
from specialists.report.numbers import compact, duration, percent, points, points_interval
from specialists.report.search_tables import searches_markdown
from specialists.report.sentences import time_sentence
from specialists.report.verdict import retention_sentence, verdict
from specialists.uncertainty import MIN_GROUPS, rows_in_groups


def comparison_markdown(comparison: Comparison) -> str:
    """Heading, table and verdict of what ``compare_seeds`` found."""
    n = len(comparison.seeds)
    seeds = ", ".join(map(str, comparison.seeds))
    over = _units(comparison) if n == 1 else f"seeds and {_units(comparison)}"
    head = (
        f"# {markdown(comparison.dataset)}: {n} {'seed' if n == 1 else 'seeds'} ({seeds})\n\n"
        f"{comparison.n_classes:,} classes; {_test_sets(comparison)}top-1 in per cent, "
        "differences in points, NLL in nats; mean ± spread (standard deviation over seeds) "
        f"[95% bootstrap interval over {over}]; the verdict's intervals are at "
        f"{percent(CORRECTED_LEVEL, 1)}, since the best of up to {len(ALTERNATIVES)} is looked "
        "for. Inference: FLOPs over the generalist's. Training time: wall time of epochs, summed "
        "over trainings even where they ran side by side; without trials that were not chosen"
        f"{_of_a_search(comparison)}. A student's row leaves its teacher out, the verdict does "
        "not. Trials: candidates among which validation chose.\n"
    )
    table = markdown_rows(*_table(comparison))
    seconds = {name: model.training_seconds for name, model in comparison.models.items()}
    time = time_sentence(comparison.models, seconds)
    measured = times_note(comparison.times) if comparison.times else ""
    searches = searches_markdown(comparison)
    notes = measured, _admitted(comparison), retention_sentence(comparison), searches, time
    answer = f"**Verdict.** {verdict(comparison).text}\n"
    return "\n\n".join([f"{head}\n{table}", *filter(None, notes), answer])


def _units(comparison: Comparison) -> str:
    """What intervals draw."""
    k = comparison.n_groups
    units = "test examples" if k == comparison.n_test else "groups of test examples"
    return units + " (fewer than 20: Student's t)" * (min(k) < MIN_GROUPS)


def _test_sets(comparison: Comparison) -> str:
    """The seeds' test sets, if some rows are one observation or too few for a test."""
    sizes = dict.fromkeys(zip(comparison.n_test, comparison.n_groups, strict=True))
    if all(n == k >= MIN_GROUPS for n, k in sizes):
        return ""
    sets = [
        rows_in_groups(n, k, "test examples") + ": no test" * (k < MIN_GROUPS) for n, k in sizes
    ]
    return f"{' or '.join(sets)}; "


def comparison_figure(comparison: Comparison) -> str:
    """Accuracy against inference cost as SVG; lines are the range over seeds."""
    spots = [
        CostPoint(name, model.inference_flops, top1.mean, (min(top1.values), max(top1.values)))
        for name, model in comparison.models.items()
        for top1 in (model.top1,)
    ]
    what = "Top-1 accuracy against inference cost, mean and range over seeds"
    lines = "range over seeds" if len(comparison.seeds) > 1 else ""
    return to_svg_file(accuracy_against_cost(spots, lines), what)


def _table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    models = comparison.models
    header = ["model", "top-1", "it - `generalist`", "`ensemble` - it", "NLL"]
    times = comparison.times
    header += ["inference", *([times_title(times)] if times else [])]
    header += ["training FLOPs", "training examples", "training time", "trials"]
    rows = []
    for name, model in models.items():
        against = comparison.find(ENSEMBLE, name) if name in (*ALTERNATIVES, GENERALIST) else None
        relative = model.inference_flops / models[GENERALIST].inference_flops
        gains = _difference(comparison.find(name, GENERALIST)), _difference(against)
        row = [f"`{name}`", _mean(model.top1, 100, 2), *gains, _mean(model.nll, 1, 3)]
        shown = "\N{EN DASH}" if math.isnan(relative) else f"{relative:.2f}x"
        row += [shown, *([times_cell(times, name)] if times else [])]
        row += [compact(model.training_flops), compact(model.training_examples)]
        rows.append([*row, duration(model.training_seconds), f"{model.tuning_trials:.0f}"])
    return header, rows


def _mean(summary: Summary, scale: float, digits: int) -> str:
    value = f"{scale * summary.mean:.{digits}f}"
    return value if summary.spread is None else f"{value} ± {scale * summary.spread:.{digits}f}"


def _difference(entry: MeanDifference | None) -> str:
    if entry is None:
        return ""
    spread = "" if entry.spread is None else f" ± {100 * entry.spread:.2f}"
    return f"{points(entry.value)}{spread} [{points_interval(entry.interval)}]"


def _of_a_search(comparison: Comparison) -> str:
    return "; a search for the student's recipe counts whole" * bool(comparison.candidates)


def _admitted(comparison: Comparison) -> str:
    n, k = comparison.admission.count("refused"), len(comparison.admission)
    if not n:
        return ""
    which = "the one seed" if k == 1 else f"{'all' if n == k else f'{n} of {k}'} seeds"
    return (
        f"In {which} held-out rows do not show that specialists help: there `ensemble` "
        "answers like its generalist. `ensemble_paper` and `ensemble_all` do not pass that test "
        "and show what specialists do without it."
    )
