"""A figure of the paper beside ours: a table to print, and the file that the page is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from specialists.files import read_json, write_json, write_text

HEADER = ("figure", "paper", "ours", "each seed", "to reach")


@dataclass(frozen=True)
class PaperLine:
    """One figure.

    Parameters
    ----------
    figure : str
    paper : str
        As the paper prints it; "" where it prints none.
    values : sequence of float
        Ours, of each seed; none where there is nothing to measure.
    how : str
        How ours was made, and where that differs from the paper.
    digits : int
        After the decimal point.
    unit : str
        Behind the number: "%", " points".
    goal : str
        What is to be reached, in words.
    reached : bool, optional
    interval : tuple of float, optional
        95%, over seeds and test rows.
    """

    figure: str
    paper: str
    values: Sequence[float]
    how: str
    digits: int = 1
    unit: str = ""
    goal: str = ""
    reached: bool | None = None
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        many = len(self.values) > 1
        ours = self._number(self.mean) if self.values else "\N{EN DASH}"
        if many:
            ours += f" ± {np.std(self.values, ddof=1):.{self.digits}f}"
        if self.interval is not None:
            ours += f" [{', '.join(f'{end:.{self.digits}f}' for end in self.interval)}]"
        each = ", ".join(map(self._number, self.values)) if many else ""
        mark = {None: "", True: ": reached", False: ": not reached"}[self.reached]
        return self.figure, self.paper, ours, each, f"{self.goal}{mark}".lstrip(": ")

    def _number(self, value: float) -> str:
        return f"{value:,.{self.digits}f}{self.unit}"


@dataclass(frozen=True)
class PaperTable:
    """What an experiment found.

    Parameters
    ----------
    name : str
        Of its files.
    title : str
    lines : tuple of PaperLine
    text : tuple of str
        Paragraphs of Markdown below the table: where we differ from the paper and why.
    cpu_minutes : float
        Of all its trainings.
    drawings : mapping
        SVG by what it shows.
    question : str
        What the experiment asks, above the table.
    """

    name: str
    title: str
    lines: tuple[PaperLine, ...]
    text: tuple[str, ...] = ()
    cpu_minutes: float = 0.0
    drawings: Mapping[str, str] = field(default_factory=dict)
    question: str = ""

    def table(self) -> str:
        """The figures, as Markdown."""
        return markdown_rows(HEADER, (line.cells() for line in self.lines))

    def markdown(self) -> str:
        """A section of the page."""
        pictures = [f"![{shown}]({file})" for file, shown in self._files().items()]
        head = [part for part in (f"## {self.title}", self.question) if part]
        parts = [*head, self.table(), *pictures, "How ours were made:", self._made()]
        parts += [*self.text, f"Trainings: {self.cpu_minutes:,.0f} CPU minutes."]
        return "\n\n".join(parts) + "\n"

    def _made(self) -> str:
        """How the figures were made; those that were made alike share a line."""
        alike: dict[str, list[str]] = {}
        for line in self.lines:
            alike.setdefault(line.how, []).append(line.figure)
        return "\n".join(f"- {'; '.join(of)}: {how}." for how, of in alike.items() if how)

    def write(self, folder: Path) -> None:
        """Write its .json, its .md and an SVG file for each drawing into a folder."""
        self.write_drawings(folder)
        write_json(folder / f"{self.name}.json", {**asdict(self), "drawings": self._files()})
        write_text(folder / f"{self.name}.md", self.markdown())

    def write_drawings(self, folder: Path) -> None:
        """Write the SVG files, to which the section's links are relative."""
        for file, svg in zip(self._files(), self.drawings.values(), strict=True):
            write_text(folder / file, svg)

    def _files(self) -> dict[str, str]:
        return {
            f"figures/paper-{self.name}-{i}.svg": shown
            for i, shown in enumerate(self.drawings, start=1)
        }


def kept_table(folder: Path, name: str) -> PaperTable | None:
    """What :meth:`PaperTable.write` wrote of this name; None if it wrote nothing."""
    file = folder / f"{name}.json"
    if not file.is_file():
        return None
    values = read_json(file)
    files = values.pop("drawings")
    drawings = {shown: (folder / svg).read_text(encoding="utf-8") for svg, shown in files.items()}
    lines = tuple(PaperLine(**line) for line in values.pop("lines"))
    text = tuple(values.pop("text"))
    return PaperTable(lines=lines, text=text, drawings=drawings, **values)


def markdown_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose first column is text and whose others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
