"""From a run's results to one HTML file that needs nothing else, and to lines for the terminal.

Everything that comes from users (names, texts, configuration) is escaped by the template engine;
only the SVG that :mod:`specialists.figures` makes is trusted.
"""

from __future__ import annotations

import base64
import io
import itertools
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from specialists.catalogue import BASELINES, ENSEMBLE, GENERALIST, STUDENT, WORDS
from specialists.escaping import printable
from specialists.evaluation import Comparison
from specialists.report import measured_times, numbers, sentences, table_rows
from specialists.report.page_figures import draw
from specialists.report.run_results import DataSummary, Results
from specialists.report.verdict import retention_sentence, share_in_words, verdict
from specialists.uncertainty import rows_in_groups

PACKAGES = ("specialist-distillation", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")
THUMBNAIL_SIDE = 56
DIFFERENCES = (numbers.points, numbers.points_interval, numbers.signed, sentences.p_value)
NUMBERS = (numbers.percent, numbers.probability, numbers.compact, numbers.duration)
FILTERS = (*DIFFERENCES, *NUMBERS, numbers.two_digits, measured_times.times_note)


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
    environment.filters.update({function.__name__: function for function in FILTERS})
    return printable(environment.get_template("report.html.j2").render(page_content(results)))


def page_content(results: Results) -> dict[str, object]:
    """What the template sees: the fields of the results, and what is made of them."""
    names = table_rows.cut(results.data.class_names)
    details, evaluation = results.details, results.evaluation
    changed = (part.examples[: results.n_examples] for part in (details.fixed, details.broken))
    examples = [*itertools.chain(*changed), *details.label_errors.examples]
    admission = results.choice.admission
    return {
        **vars(results),
        "title": results.title or f"Specialists on {evaluation.dataset}",
        "names": names,
        "splits": split_sizes(results.data),
        "interval": sentences.interval_in_words(evaluation),
        **_answer(results),
        "descriptions": {name: WORDS[name].description for name in evaluation.models},
        "training_seconds": results.training_seconds,
        "times": results.comparison.times,
        "time_note": sentences.time_sentence(evaluation.models, results.training_seconds),
        "differences": table_rows.difference_rows(evaluation),
        "chosen_rule": table_rows.rule_in_words(results.choice),
        "admission": admission,
        "admission_words": sentences.admission_sentence(admission),
        "learned": table_rows.learned_rows(admission.chosen),
        "figures": draw(results),
        "clusters": table_rows.cluster_rows(results.clusters, details.per_cluster),
        "left_out": sentences.left_out_sentence(
            evaluation.n_specialists, evaluation.n_answering, results.choice.chosen.n_shared
        ),
        "share_of_confusions": results.clusters.total_share,
        "random_share": results.clusters.random_share,
        "uncovered": [names[j] for j in results.clusters.uncovered],
        "class_tables": [
            table_rows.class_table(details.per_class, names, model)
            for model in (ENSEMBLE, STUDENT)
            if model in details.per_class
        ],
        "pictures": thumbnails(results.images, [example.row for example in examples]),
        "versions": versions(),
    }


def _answer(results: Results) -> dict[str, object]:
    """The verdict with what supports it, and what makes it doubtful."""
    answer, gain = verdict(results.comparison), sentences.gain_sentence(results.evaluation)
    first, *others = answer.sentences
    evidence = [gain, *others, retention_sentence(results.comparison), answer.caution]
    return {
        "headline": f"{answer.headline}: {first}",
        "tone": answer.tone,
        "sentences": list(filter(None, evidence)),
        "warnings": sentences.warnings(results.details),
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
    installed = {"Python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            installed[package] = metadata.version(package)
    return installed


def summary_lines(results: Results) -> list[str]:
    """What a finished run found, in 2 to 5 lines for the terminal."""
    comparison, answer = results.comparison, verdict(results.comparison)
    models, kept = comparison.models, comparison.retention
    top1 = {name: numbers.percent(model.top1.mean) for name, model in models.items()}
    lines = [
        f"{answer.headline}: {answer.sentences[0]}",
        f"  top-1: generalist {top1[GENERALIST]}, ensemble {top1[ENSEMBLE]} "
        f"({_gain(comparison, GENERALIST)})",
    ]
    against = [f"{name} {_gain(comparison, name)}" for name in BASELINES if name in models]
    if against:
        lines.append("  ensemble against " + "; ".join(against))
    if STUDENT in models:
        share = "" if kept is None else f", keeps {share_in_words(kept)} of the gain"
        lines.append(f"  student {top1[STUDENT]}{share}")
    doubts = [warning.split(":")[0].lower() for warning in sentences.warnings(results.details)]
    return lines + [f"  warning: {doubt}" for doubt in doubts]


def _gain(comparison: Comparison, name: str) -> str:
    """The ensemble's gain over another model, with its 95% interval."""
    difference = comparison.find(ENSEMBLE, name)
    if difference is None:
        return ""
    return f"{numbers.points(difference.value)} [{numbers.points_interval(difference.interval)}]"
