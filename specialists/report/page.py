"""From a run's results to one HTML file that needs nothing else, and to lines for the terminal.

Everything that comes from users (names, texts, configuration) is escaped by the template engine;
only the SVG that :mod:`specialists.figures` makes is trusted.
"""

from __future__ import annotations

import base64
import io
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from specialists.catalogue import BASELINES, ENSEMBLE, GENERALIST, STUDENT, WORDS
from specialists.escaping import printable
from specialists.evaluation import Comparison
from specialists.report.caveats import time_sentence
from specialists.report.numbers import (
    compact,
    duration,
    percent,
    points,
    points_interval,
    probability,
    signed,
)
from specialists.report.page_figures import draw
from specialists.report.results import DataSummary, Results
from specialists.report.sentences import (
    gain_sentence,
    interval_in_words,
    left_out_sentence,
    p_value,
    warnings,
)
from specialists.report.table_rows import (
    choice_rows,
    class_table,
    cluster_rows,
    cut,
    difference_rows,
)
from specialists.report.verdict import retention_sentence, verdict
from specialists.uncertainty import rows_in_groups

PACKAGES = ("specialist-distillation", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")
THUMBNAIL_SIDE = 56


def render(results: Results) -> str:
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
    return printable(environment.get_template("report.html.j2").render(page_content(results)))


def page_content(results: Results) -> dict[str, Any]:
    """What the template sees."""
    names, details, evaluation = cut(results.data.class_names), results.details, results.evaluation
    examples = [
        *details.mended.examples[: results.n_examples],
        *details.broken.examples[: results.n_examples],
        *details.label_errors.examples,
    ]
    left_out = left_out_sentence(evaluation.n_specialists, evaluation.n_answering)
    return {
        "title": results.title or f"Specialists on {evaluation.dataset}",
        "names": names,
        "evaluation": evaluation,
        "details": details,
        "n_examples": results.n_examples,
        "data": results.data,
        "splits": split_sizes(results.data),
        "interval": interval_in_words(evaluation),
        **_answer(results),
        "descriptions": {name: WORDS[name].description for name in evaluation.models},
        "training_seconds": results.training_seconds,
        "time_note": time_sentence(evaluation.models, results.training_seconds),
        "differences": difference_rows(evaluation),
        "choice": choice_rows(results.choice),
        "figures": draw(results),
        "clusters": cluster_rows(results.clusters, details.per_cluster),
        "left_out": left_out,
        "share_of_confusions": results.clusters.total_share,
        "random_share": results.clusters.random_share,
        "uncovered": [names[j] for j in results.clusters.uncovered],
        "class_tables": [
            class_table(details.per_class, names, model)
            for model in (ENSEMBLE, STUDENT)
            if model in details.per_class
        ],
        "pictures": thumbnails(results.images, [example.row for example in examples]),
        "config_text": results.config_text,
        "seconds": results.seconds,
        "versions": versions(),
    }


def _answer(results: Results) -> dict[str, Any]:
    """The verdict with what supports it, and what makes it doubtful."""
    answer = verdict(results.comparison)
    first, *others = answer.sentences
    sentences = [gain_sentence(results.evaluation), *others]
    sentences += [retention_sentence(results.comparison), answer.caution]
    return {
        "headline": f"{answer.headline}: {first}",
        "tone": answer.tone,
        "sentences": list(filter(None, sentences)),
        "warnings": warnings(results.details),
    }


def split_sizes(data: DataSummary) -> str:
    """For instance "15,000 train in 2,000 groups, 1,738 validation"."""
    return ", ".join(
        rows_in_groups(n, data.groups.get(split, n), split) for split, n in data.rows.items()
    )


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


def summary_lines(results: Results) -> list[str]:
    """What a finished run found, in 2 to 5 lines for the terminal."""
    comparison, answer = results.comparison, verdict(results.comparison)
    models, kept = comparison.models, comparison.retention
    top1 = {name: percent(model.top1.mean) for name, model in models.items()}
    lines = [
        f"{answer.headline}: {answer.sentences[0]}",
        f"  top-1: generalist {top1[GENERALIST]}, ensemble {top1[ENSEMBLE]} "
        f"({_gain(comparison, GENERALIST)})",
    ]
    against = [f"{name} {_gain(comparison, name)}" for name in BASELINES if name in models]
    if against:
        lines.append("  ensemble against " + "; ".join(against))
    if STUDENT in models:
        student = f"  student {top1[STUDENT]}"
        if kept is not None:
            share = "nothing" if kept.value <= 0 else percent(kept.value, 0)
            student += f", keeps {share} of the gain"
        lines.append(student)
    doubts = [warning.split(":")[0].lower() for warning in warnings(results.details)]
    return lines + [f"  warning: {doubt}" for doubt in doubts]


def _gain(comparison: Comparison, name: str) -> str:
    """Of the ensemble over another model, with its 95% interval."""
    difference = comparison.find(ENSEMBLE, name)
    if difference is None:
        return ""
    return f"{points(difference.value)} [{points_interval(difference.interval)}]"
