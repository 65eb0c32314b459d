"""From a run to one HTML file that needs nothing else, and to a few lines for the terminal.

Everything that comes from users (names, texts, configuration) is escaped by the template engine;
only the SVG that :mod:`specialists.figures` makes is trusted.
"""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from specialists.escaping import printable
from specialists.report.drawings import draw
from specialists.report.numbers import percent, points, points_interval, probability, signed
from specialists.report.record import Record, read_record
from specialists.report.rivals import time_sentence
from specialists.report.tables import (
    answer_rows,
    choice_rows,
    class_rows,
    cluster_rows,
    compact,
    cut,
    difference_rows,
    duration,
    label_error_rows,
    model_rows,
)
from specialists.report.words import (
    RIVALS,
    find_difference,
    interval_in_words,
    left_out_sentence,
    p_value,
    verdict,
)
from specialists.runs import Run, read_json, write_text
from specialists.uncertainty import rows_in_groups

PACKAGES = ("specialist-distillation", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")
THUMBNAIL_SIDE = 56


def write_report(run: Run) -> Path:
    """Write RUN/report.html and return its path.

    Raises
    ------
    InputError
        When the run has not been evaluated.
    """
    path = run.folder / "report.html"
    write_text(path, render(read_record(run)))
    return path


def render(record: Record) -> str:
    """The report as one HTML document without links to anything outside.

    No name, text or setting in it holds a control character, which HTML has no form for.
    """
    environment = Environment(
        loader=PackageLoader("specialists"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        points=points,
        points_interval=points_interval,
        probability=probability,
        signed=signed,
        p_value=p_value,
        compact=compact,
        duration=duration,
    )
    return printable(environment.get_template("report.html.j2").render(page_content(record)))


def page_content(record: Record) -> dict[str, Any]:
    """What the template sees."""
    names, details = cut(record.class_names), record.details
    per_class = details["per_class"]
    changed = {
        kind: {
            "n": details[kind]["n"],
            "rows": answer_rows(details[kind]["examples"][: record.n_examples], names),
        }
        for kind in ("mended", "broken")
    }
    suspects = label_error_rows(details["label_errors"]["examples"], names)
    shown = [row["row"] for part in changed.values() for row in part["rows"]]
    return {
        "title": record.title or f"Specialists on {record.evaluation['dataset']}",
        "evaluation": record.evaluation,
        "about": record.about,
        "splits": split_sizes(record.about),
        "interval": interval_in_words(record.evaluation),
        "unit": record.about.get("source", {}).get("rows", "row"),
        "verdict": verdict(record.evaluation, details, record.choice),
        "models": model_rows(record.evaluation, record.training_seconds),
        "time_note": time_sentence(record.evaluation["models"], record.training_seconds),
        "differences": difference_rows(record.evaluation),
        "choice": None if record.choice is None else choice_rows(record.choice),
        "drawings": draw(record),
        "clusters": cluster_rows(record.clusters, details["per_cluster"]),
        "left_out": left_out_sentence(record.evaluation),
        "share_of_confusions": record.clusters.total_share,
        "random_share": record.clusters.random_share,
        "uncovered": [names[j] for j in record.clusters.uncovered],
        "class_tables": [
            class_rows(per_class, names, model)
            for model in ("ensemble", "student")
            if model in per_class
        ],
        "suspects": {"n": details["label_errors"]["n"], "rows": suspects},
        "changed": changed,
        "pictures": thumbnails(record.images, [*shown, *(row["row"] for row in suspects)]),
        "config_text": record.config_text,
        "seconds": record.seconds,
        "versions": versions(),
    }


def split_sizes(about: Mapping[str, Any]) -> str:
    """For instance "15,000 train in 2,000 groups, 1,738 validation"."""
    groups = about.get("groups", {})
    sizes = about.get("rows", {}).items()
    return ", ".join(rows_in_groups(n, groups.get(split, n), split) for split, n in sizes)


def thumbnails(images: np.ndarray | None, rows: Sequence[int]) -> Mapping[int, str]:
    """PNG data of the given rows of ``images`` [n, channels, height, width], as data URLs."""
    if images is None:
        return {}
    return {row: _data_url(np.asarray(images[row])) for row in dict.fromkeys(rows)}


def _data_url(image: np.ndarray) -> str:
    from PIL import Image

    pixels = image[0] if image.shape[0] < 3 else np.moveaxis(image[:3], 0, -1)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def summary_lines(folder: str | Path) -> list[str]:
    """What a finished run found, in 2 to 5 lines for the terminal."""
    folder = Path(folder)
    evaluation = read_json(folder / "evaluation.json")
    details = read_json(folder / "evaluate-models" / "details.json")
    choice = folder / "combine-predictions" / "choice.json"
    answer = verdict(evaluation, details, read_json(choice) if choice.is_file() else None)
    models = evaluation["models"]
    top1 = find_difference(evaluation, "ensemble", "generalist")
    gain = "" if top1 is None else f" ({_gain(top1)})"
    lines = [
        answer.headline,
        f"  top-1: generalist {percent(models['generalist']['top1'])}, "
        f"ensemble {percent(models['ensemble']['top1'])}{gain}",
    ]
    against = [(rival, find_difference(evaluation, "ensemble", rival)) for rival in RIVALS]
    known = [f"{rival} {_gain(found)}" for rival, found in against if found is not None]
    if known:
        lines.append("  ensemble against " + "; ".join(known))
    if "student" in models:
        kept = evaluation["retention"]
        share = "none" if kept is not None and kept <= 0 else percent(kept, 0)
        keeps = "" if kept is None else f", keeps {share} of the gain"
        lines.append(f"  student {percent(models['student']['top1'])}{keeps}")
    if answer.warnings:
        lines.append("  warning: " + answer.warnings[0].split(":")[0].lower())
    return lines


def _gain(difference: Mapping[str, Any]) -> str:
    return f"{points(difference['value'])} [{points_interval(difference['interval'])}]"
