"""From a run's results to one HTML file that needs nothing else.

Everything that comes from users (names, texts, configuration) is escaped by the template engine;
only the SVG that :mod:`specialists.figures` makes is trusted.
"""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import metadata

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from specialists.catalogue import ALTERNATIVES, WORDS
from specialists.datasets.fetched_rows import FetchedRows
from specialists.escaping import printable
from specialists.evaluation.several_seeds import CORRECTED_LEVEL
from specialists.report import measured_times, numbers, search_tables, sentences, table_rows
from specialists.report.page_figures import draw
from specialists.report.recommendation import options
from specialists.report.run_results import DataSummary, Results
from specialists.report.verdict import retention_sentence, verdict
from specialists.uncertainty import rows_in_groups

PACKAGES = ("specialist-distillation", "torch", "numpy", "scipy", "scikit-learn", "matplotlib")
THUMBNAIL_SIDE = 56
COMMAND = re.compile("`([^`]*)`")
SECTIONS = {
    "why": "Why",
    "apart": "Told apart",
    "admission": "Test of specialists",
    "models": "All models",
    "cost": "Cost",
    "shared": "Shared specialists",
    "clusters": "Clusters",
    "gains": "Where it helps",
    "classes": "Classes",
    "examples": "Examples",
    "calibration": "Calibration",
    "labels": "Label errors",
    "search": "Search",
    "training": "Training",
    "run": "This run",
}
DIFFERENCES = (numbers.points, numbers.points_interval, numbers.signed, sentences.p_value)
NUMBERS = (numbers.percent, numbers.probability, numbers.compact, numbers.duration)
WORDING = (numbers.two_digits, numbers.capitalized, measured_times.times_note)


def with_commands(sentence: str) -> Markup:
    """Escaped, with what stands between backticks as code."""
    return Markup(COMMAND.sub(r"<code>\1</code>", str(escape(sentence))))


FILTERS = (*DIFFERENCES, *NUMBERS, *WORDING, with_commands)


def render(results: Results) -> str:
    """The report as one HTML document without links to anything outside.

    No name, text or setting in it holds a control character, which HTML has no form for. The only
    script that its content security policy allows is its own, by its hash.
    """
    environment = Environment(
        loader=PackageLoader("specialists"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in FILTERS})
    css, script = (_template(environment, name) for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    files = {"css": css, "script": script, "script_hash": f"sha256-{digest}"}
    page = environment.get_template("report.html.j2").render(page_content(results), **files)
    return printable(page)


def _template(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def page_content(results: Results) -> dict[str, object]:
    """What the template sees: the fields of the results, and what is made of them."""
    details, evaluation = results.details, results.evaluation
    names = table_rows.cut(results.data.class_names)
    admission, figures = results.choice.admission, draw(results)
    n_answering = evaluation.n_answering
    content = {
        **vars(results),
        **_answer(results),
        "title": results.title or f"Specialists on {evaluation.dataset}",
        "names": names,
        "nouns": {name: WORDS[name].noun or name for name in evaluation.models},
        "descriptions": {name: WORDS[name].description for name in evaluation.models},
        "splits": split_sizes(results.data),
        "interval": sentences.interval_in_words(evaluation),
        "silent": results.is_silent,
        "training_seconds": results.training_seconds,
        "times": results.comparison.times,
        "time_note": sentences.time_sentence(evaluation.models, results.training_seconds),
        "differences": table_rows.difference_rows(evaluation, results.is_silent),
        "chosen_rule": table_rows.rule_in_words(results.choice),
        "admission": admission,
        "admission_words": sentences.admission_sentence(admission),
        **_search(results),
        "learned": table_rows.learned_rows(admission.chosen),
        "figures": figures,
        "pairs": details.pairs,
        "clusters": table_rows.cluster_rows(results.clusters, details.per_cluster),
        "any_gain": n_answering > 0,
        "left_out": sentences.left_out_sentence(evaluation.n_specialists, n_answering),
        **_shared(results),
        "share_of_confusions": results.clusters.total_share,
        "random_share": results.clusters.random_share,
        "uncovered": [names[j] for j in results.clusters.uncovered],
        "class_table": table_rows.class_table(
            details.per_class, names, [n for n in results.told_models if n in details.per_class]
        ),
        "pictures": thumbnails(results.images, shown_rows(results)),
        "versions": versions(),
    }
    return {**content, "contents": contents(results)}


def _answer(results: Results) -> dict[str, object]:
    """The verdict with what supports it, and what makes it doubtful."""
    answer = verdict(results.comparison)
    kept = retention_sentence(results.comparison)
    return {
        "headline": answer.headline,
        "tone": answer.tone,
        "reason": answer.sentences[0],
        "others": [s for s in (*answer.sentences[1:], kept) if s and s not in answer.in_table],
        "caution": answer.caution,
        "gain": "" if results.is_silent else sentences.gain_sentence(results.evaluation),
        "warnings": sentences.warnings(results.details),
        "options": options(results.comparison),
        "corrected_level": CORRECTED_LEVEL,
        "n_alternatives": len(ALTERNATIVES),
    }


def _search(results: Results) -> dict[str, object]:
    """The candidates of the student's search, if there was one."""
    candidates = [each for of_seed in results.comparison.candidates for each in of_seed]
    words = search_tables.search_sentences(candidates)
    return {"candidates": search_tables.ranked_candidates(candidates), "search_words": words}


def _shared(results: Results) -> dict[str, object]:
    """What shared specialists are, if there are any, and what they gain on which rows."""
    shared = results.details.shared
    if shared is None:
        return {}
    return {
        "shared_words": sentences.shared_sentences(shared, results.choice.chosen),
        "kinds_of_rows": table_rows.telling(shared.kinds),
        "too_few": table_rows.too_few_sentence(shared.kinds, "kind of rows", "kinds of rows"),
    }


def contents(results: Results) -> list[tuple[str, str]]:
    """The page's sections that have something to show: anchor and name, in their order."""
    details = results.details
    shown = {
        "apart": details.pairs is not None,
        "shared": details.shared is not None,
        "gains": results.evaluation.n_answering > 0,
        "search": bool(results.comparison.candidates),
        "examples": not results.is_silent,
    }
    return [(anchor, name) for anchor, name in SECTIONS.items() if shown.get(anchor, True)]


def shown_rows(results: Results) -> list[int]:
    """The test rows that the page has as examples."""
    details = results.details
    changed = (part.examples[: results.n_examples] for part in (details.fixed, details.broken))
    pairs = [pair.examples for pair in details.pairs.most] if details.pairs else []
    found = itertools.chain(*changed, *pairs, details.label_errors.examples)
    return [example.row for example in found]


def split_sizes(data: DataSummary) -> str:
    """For instance "15,000 train in 2,000 groups, 1,738 validation"."""
    return ", ".join(
        rows_in_groups(n, data.groups.get(split, n), split) for split, n in data.rows.items()
    )


def thumbnails(images: np.ndarray | FetchedRows | None, rows: Sequence[int]) -> Mapping[int, str]:
    """PNG data of the given rows of ``images`` [n, channels, height, width], as data URLs."""
    if images is None:
        return {}
    return {row: _data_url(np.asarray(images[row : row + 1])[0]) for row in dict.fromkeys(rows)}


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
