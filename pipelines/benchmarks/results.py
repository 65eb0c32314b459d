"""What was measured, as ``data/RESULTS.md`` and as the short table of README.

    python -m pipelines.benchmarks.results
    python -m pipelines.benchmarks.results FOLDER "specialists compare onet64" [--commit ID]

With a folder of ``specialists compare``, or of a benchmark that left a table, and with the command
that made it, the result goes into ``data/results/NAME.json`` first, NAME that of the folder. The
page has a section a result, the newest first; a result of the same name takes the place of an
older one. The commit is that of this checkout, unless ``--commit`` names it. A benchmark's figure
is kept as ``data/figures/NAME.svg``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from specialists.catalogue import AVERAGED, BASELINES, ENSEMBLE, GENERALIST, TRAINED, WORDS
from specialists.errors import InputError
from specialists.evaluation import Comparison
from specialists.files import copy_file, read_json, write_json, write_text
from specialists.json_record import JsonRecord
from specialists.report import comparison_markdown
from specialists.report.numbers import two_digits

from ..messages import told_in_one_message
from .markdown_tables import Line, markdown_table, with_interval

ROOT = Path(__file__).parents[2]
DATA, README = ROOT / "data", ROOT / "README.md"
RESULTS = DATA / "results"
SHORT = ("emoji", "onet64", "clinc150", "languages", "banking77")  # in the short table
BEGIN, END = "<!-- results -->\n", "<!-- /results -->\n"
PAGE = """# Results

A section a result, the newest first, each with the command that made it and the commit that it ran
on. `python -m pipelines.benchmarks.results` writes this page from `data/results`. Older results are
in [notebook](notebook).

The models:

"""


@dataclass(frozen=True, kw_only=True)
class Result(JsonRecord):
    """One measurement with its origin.

    Parameters
    ----------
    name, command, commit, date : str
        The date is that of the day, as in "2026-11-29".
    comparison : Comparison, optional
        Of several seeds.
    table : str, optional
        Markdown that a benchmark wrote instead, with its title.
    figure : str, optional
        The file of the benchmark's figure, seen from the page.
    """

    name: str
    command: str
    commit: str
    date: str
    comparison: Comparison | None = None
    table: str = ""
    figure: str = ""

    @property
    def section(self) -> str:
        """Its part of the page."""
        text = self.table if self.comparison is None else comparison_markdown(self.comparison)
        title, _, body = text.removeprefix("# ").partition("\n")
        if self.comparison is not None:  # several configurations may have the same data
            title = self.name + title.removeprefix(self.comparison.dataset)
        figure = f"\n![{title}]({self.figure})\n" if self.figure else ""
        return f"## {title}\n\n`{self.command}` ({self.date}, commit {self.commit})\n{figure}{body}"


def keep(folder: Path, command: str, results: Path = RESULTS, commit: str | None = None) -> Path:
    """Write what a folder holds to ``results``, and a figure beside it; returns the file.

    Raises an InputError if the folder holds no finished comparison and no table.
    """
    name, file = folder.resolve().name, folder / "comparison.json"
    tables = sorted(folder.glob("*.md"), key=_by_number)
    found: dict[str, object] = {}
    if file.is_file():
        found["comparison"] = Comparison.from_dict(read_json(file))
    elif tables:
        first, *more = (table.read_text(encoding="utf-8") for table in tables)
        found["table"] = "\n".join([first, *(text.replace("# ", "### ", 1) for text in more)])
        for figure in folder.glob("*.svg"):
            found["figure"] = f"figures/{name}.svg"
            copy_file(figure, results.parent / f"figures/{name}.svg")
    else:
        fix = "specialists compare, or a benchmark of pipelines.benchmarks"
        raise InputError("no finished comparison and no table", where=folder, fix=fix)
    result = Result(
        name=name,
        command=command,
        commit=commit or _commit(),
        date=datetime.now(UTC).date().isoformat(),
        **found,  # pyright: ignore[reportArgumentType]  # one of the two above
    )
    write_json(results / f"{name}.json", result.to_dict())
    return results / f"{name}.json"


def kept_results(results: Path = RESULTS) -> list[Result]:
    """All results, the newest first."""
    found = [Result.from_dict(read_json(file)) for file in sorted(results.glob("*.json"))]
    return sorted(found, key=lambda result: result.date, reverse=True)


def page(results: Iterable[Result]) -> str:
    """All of ``data/RESULTS.md``."""
    sections = [result.section.rstrip("\n") + "\n" for result in results]
    return "\n".join([PAGE + glossary(sections), *sections])


def glossary(sections: Sequence[str]) -> str:
    """What each model is whose name occurs, a line a model."""
    text = "".join(sections)
    known = {name: words.description for name, words in WORDS.items() if f"`{name}`" in text}
    return "".join(f"- `{name}`: {words}.\n" for name, words in known.items())


def short_table(results: Iterable[Result]) -> str:
    """README's table: five data sets, four columns."""
    by_name = {result.name: result.comparison for result in results}
    comparisons = ((name, by_name.get(name)) for name in SHORT)
    lines = [_line(name, found) for name, found in comparisons if found is not None]
    return markdown_table(lines) + "\n" if lines else ""


def _line(name: str, comparison: Comparison) -> Line:
    models = comparison.models
    base, ensemble = models[GENERALIST], models[ENSEMBLE]
    gain = comparison.gain(ENSEMBLE)
    cost = ensemble.inference_flops / base.inference_flops
    rival = max(
        (b for b in BASELINES if b in models), key=lambda b: models[b].top1.mean, default=None
    )
    against = "none trained"
    if rival is not None:
        times = models[rival].inference_flops / base.inference_flops
        gained, ms = 100 * comparison.gain(rival).value, _milliseconds(comparison, rival)
        family = rival if rival in TRAINED else AVERAGED
        against = f"{WORDS[family].noun}: {gained:+.1f} at {times:.2f}x{ms}"
    return {
        "data": f"{name}, {comparison.n_classes:,} classes",
        "generalist": f"{100 * base.top1.mean:.1f}%{_milliseconds(comparison, GENERALIST)}",
        "with specialists": f"{with_interval(gain.value, gain.interval, digits=1)} "
        f"at {cost:.2f}x{_milliseconds(comparison, ENSEMBLE)}",
        "best of the rivals": against,
    }


def _milliseconds(comparison: Comparison, name: str) -> str:
    """Of the large batch, behind a comma; "" of what was not timed, or on several machines."""
    times = comparison.times
    if times is None or times.relative or name not in times.models:
        return ""
    return f", {two_digits(times.models[name].batch)} ms"


def with_table(readme: str, table: str) -> str:
    """README with the short table between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise InputError("README has no place for the table", expected=f"{BEGIN}...{END}")
    return before + BEGIN + table + END + after


def _by_number(file: Path) -> tuple[int, str]:
    number = re.search(r"-(\d+)$", file.stem)
    return (-int(number[1]) if number else 0, file.name)


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    """The command above."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.benchmarks.results")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("command", nargs="?")
    parser.add_argument("--commit", help="that the result was made with")
    given = parser.parse_args()
    if (given.folder is None) != (given.command is None):
        parser.error("a folder needs the command that made it, in quotes")
    with told_in_one_message():
        if given.folder is not None:
            print(keep(given.folder, given.command, commit=given.commit))
        results = kept_results()
        write_text(DATA / "RESULTS.md", page(results))
        text = README.read_text(encoding="utf-8")
        write_text(README, with_table(text, short_table(results)))


if __name__ == "__main__":
    main()
