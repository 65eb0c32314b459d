"""What do several seeds say together? A table and a figure, and the verdict below them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from specialists.escaping import markdown
from specialists.evaluation.seeds import CORRECTED_LEVEL
from specialists.figures import CostPoint, accuracy_against_cost, to_svg_file
from specialists.report.advice import ADVICE, BASE, find, verdict
from specialists.report.numbers import percent, points, points_interval
from specialists.report.rivals import time_sentence
from specialists.report.tables import compact, duration
from specialists.uncertainty import MIN_GROUPS, rows_in_groups


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """Heading, table and verdict of what ``compare_seeds`` found."""
    n = len(comparison["seeds"])
    seeds = ", ".join(map(str, comparison["seeds"]))
    over = _units(comparison) if n == 1 else f"seeds and {_units(comparison)}"
    head = (
        f"# {markdown(comparison['dataset'])}: {n} {'seed' if n == 1 else 'seeds'} ({seeds})\n\n"
        f"{comparison['n_classes']:,} classes; {_test_sets(comparison)}top-1 in per cent, "
        "differences in points, NLL in nats; mean ± spread (standard deviation over seeds) "
        f"[95% bootstrap interval over {over}]; the verdict's intervals are at "
        f"{percent(CORRECTED_LEVEL, 1)}, since the best of up to {len(ADVICE)} is looked for. "
        "Inference: FLOPs over the generalist's. Training "
        "time: wall time of epochs, summed over trainings even where they ran side by side; "
        "without trials that were not chosen. A student's row leaves its teacher out, the verdict "
        "does not. Trials: candidates among which validation chose.\n"
    )
    table = "\n".join("| " + " | ".join(row) + " |" for row in _rows(comparison))
    seconds = {name: model["training_seconds"] for name, model in comparison["models"].items()}
    time = time_sentence(comparison["models"], seconds)
    notes = f"{_admitted(comparison)}{_kept(comparison)}{time}{chr(10) * 2 * bool(time)}"
    return f"{head}\n{table}\n\n{notes}**Verdict.** {verdict(comparison)}\n"


def _units(comparison: Mapping[str, Any]) -> str:
    """What intervals draw."""
    k = comparison["n_groups"]
    units = "test examples" if k == comparison["n_test"] else "groups of test examples"
    return units + " (fewer than 20: Student's t)" * (min(k) < MIN_GROUPS)


def _test_sets(comparison: Mapping[str, Any]) -> str:
    """The seeds' test sets, if some rows are one observation or too few for a test."""
    sizes = dict.fromkeys(zip(comparison["n_test"], comparison["n_groups"], strict=True))
    if all(n == k >= MIN_GROUPS for n, k in sizes):
        return ""
    said = [
        rows_in_groups(n, k, "test examples") + ": no test" * (k < MIN_GROUPS) for n, k in sizes
    ]
    return f"{' or '.join(said)}; "


def comparison_figure(comparison: Mapping[str, Any]) -> str:
    """Accuracy against inference cost as SVG; lines are the range over seeds."""
    spots = [
        CostPoint(
            name=name,
            top1=model["top1"]["mean"],
            interval=(min(model["top1"]["values"]), max(model["top1"]["values"])),
            inference_flops=model["inference_flops"],
        )
        for name, model in comparison["models"].items()
    ]
    what = "Top-1 accuracy against inference cost, mean and range over seeds"
    lines = "range over seeds" if len(comparison["seeds"]) > 1 else ""
    return to_svg_file(accuracy_against_cost(spots, lines), what)


def _rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    models = comparison["models"]
    header = ["model", "top-1", "it - `generalist`", "`ensemble` - it", "NLL"]
    header += ["inference", "training FLOPs", "training examples", "training time", "trials"]
    rows = [header, ["---", *["---:"] * (len(header) - 1)]]
    for name, model in models.items():
        against = find(comparison, "ensemble", name) if name in (*ADVICE, BASE) else None
        base = models[BASE]["inference_flops"]
        rows.append(
            [
                f"`{name}`",
                _mean(model["top1"], 100, 2),
                _difference(find(comparison, name, BASE)),
                _difference(against),
                _mean(model["nll"], 1, 3),
                f"{model['inference_flops'] / base:.2f}x",
                compact(model["training_flops"]),
                compact(model["training_examples"]),
                duration(model["training_seconds"]),
                f"{model['tuning_trials']:.0f}",
            ]
        )
    return rows


def _mean(summary: Mapping[str, Any], scale: float, digits: int) -> str:
    spread = summary["spread"]
    value = f"{scale * summary['mean']:.{digits}f}"
    return value if spread is None else f"{value} ± {scale * spread:.{digits}f}"


def _difference(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    spread = "" if entry["spread"] is None else f" ± {100 * entry['spread']:.2f}"
    return f"{points(entry['value'])}{spread} [{points_interval(entry['interval'])}]"


def _admitted(comparison: Mapping[str, Any]) -> str:
    outcomes = comparison["gate"]
    n = outcomes.count("refused")
    if not n:
        return ""
    where = "all" if n == len(outcomes) else f"{n} of {len(outcomes)}"
    which = "the one seed" if len(outcomes) == 1 else f"{where} seeds"
    return (
        f"In {which} held-out rows do not show that specialists help: there `ensemble` "
        "answers like its generalist. `ensemble_paper` and `ensemble_all` do not pass that test "
        "and show what specialists do without it.\n\n"
    )


def _kept(comparison: Mapping[str, Any]) -> str:
    if not {"student", "student_hard_labels", "ensemble"} <= set(comparison["models"]):
        return ""
    kept = comparison["retention"]
    if kept is None:
        return (
            "What the student keeps cannot be said: the ensemble is not clearly better than the "
            "same network with hard labels.\n\n"
        )
    low, high = (percent(end, 0) for end in kept["interval"])
    share = "nothing" if kept["value"] <= 0 else percent(kept["value"], 0)
    return (
        f"The student keeps {share} [{low} to {high}] of what the ensemble "
        "gains over hard labels.\n\n"
    )
