"""A figure of the paper beside ours: a table to print, and the file that the page is made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from specialists.errors import DamagedError
from specialists.escaping import markdown_rows
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
        Ours, of each seed, None where a seed has nothing to measure; empty where none has.
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
    overall : float, optional
        Ours of all seeds together, where that is not their mean: a share of the mean gain.
    """

    figure: str
    paper: str
    values: Sequence[float | None]
    how: str
    digits: int = 1
    unit: str = ""
    goal: str = ""
    reached: bool | None = None
    interval: tuple[float, float] | None = None
    overall: float | None = None

    @property
    def measured(self) -> list[float]:
        """Of the seeds that have something to measure."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float:
        """Over seeds; NaN if none has something to measure."""
        return float(np.mean(self.measured)) if self.measured else math.nan

    def cells(self) -> tuple[str, ...]:
        """A row of the table; a mean of counts has a digit after the point."""
        many = len(self.values) > 1
        middle = self.mean if self.overall is None else self.overall
        digits = max(1, self.digits) if many and not self.unit else self.digits
        ours = self._number(middle if self.measured else None, digits)
        if len(self.measured) > 1:
            ours += f" ± {np.std(self.measured, ddof=1):.{digits}f}"
        if self.interval is not None:
            ours += f" [{', '.join(f'{end:.{self.digits}f}' for end in self.interval)}]"
        each = ", ".join(self._number(value, self.digits) for value in self.values) if many else ""
        mark = {None: "", True: ": reached", False: ": not reached"}[self.reached]
        return self.figure, self.paper, ours, each, f"{self.goal}{mark}".lstrip(": ")

    def _number(self, value: float | None, digits: int) -> str:
        return "\N{EN DASH}" if value is None else f"{value:,.{digits}f}{self.unit}"


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
    seconds : mapping
        CPU seconds of its trainings, by their folders; sections may share some.
    drawings : mapping
        SVG by what it shows.
    question : str
        What the experiment asks, above the table.
    """

    name: str
    title: str
    lines: tuple[PaperLine, ...]
    text: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
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
        minutes = sum(self.seconds.values()) / 60
        parts += [*self.text, f"Trainings: {minutes:,.0f} CPU minutes."]
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


def share_line(
    figure: str,
    of_paper: tuple[str, str],
    kept: Sequence[float],
    whole: Sequence[float],
    least: float,
    interval: tuple[float, float] | None,
) -> PaperLine:
    """The share that is kept of a whole, in per cent; null without an interval.

    Parameters
    ----------
    of_paper : tuple of str
        The paper's, and how ours is made.
    kept, whole : sequence of float
        Of each seed. The share of all seeds is that of the means; a seed without a whole has none.
    least : float
        The share to reach.
    interval : tuple of float, optional
        Of the share; None where the whole is not clear of 0.
    """
    if interval is None:
        goal = "null: there is no clear gain to keep"
        return PaperLine(figure, of_paper[0], (), of_paper[1], 0, "%", goal)
    return PaperLine(
        figure,
        of_paper[0],
        [100 * k / w if w > 0 else None for k, w in zip(kept, whole, strict=True)],
        of_paper[1],
        0,
        "%",
        f"at least {least:.0%}",
        sum(kept) >= least * sum(whole),
        (100 * interval[0], 100 * interval[1]),
        100 * sum(kept) / sum(whole),
    )


def kept_table(folder: Path, name: str) -> PaperTable | None:
    """What :meth:`PaperTable.write` wrote of this name; None if it wrote nothing.

    Raises
    ------
    DamagedError
        If it, or a figure of it, is no longer what was written.
    """
    file = folder / f"{name}.json"
    if not file.is_file():
        return None
    try:
        return _read_table(file)
    except (DamagedError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(
            "this section, or a figure of it, is damaged",
            where=file,
            got=str(error).splitlines()[0],
            fix=f"`specialists reproduce {name.partition('-')[0]}`, as it was called before, makes "
            "it again of what is trained",
        ) from None


def _read_table(file: Path) -> PaperTable:
    values = read_json(file)
    files, folder = values.pop("drawings"), file.parent
    drawings = {shown: (folder / svg).read_text(encoding="utf-8") for svg, shown in files.items()}
    lines = tuple(PaperLine(**line) for line in values.pop("lines"))
    text = tuple(values.pop("text"))
    return PaperTable(lines=lines, text=text, drawings=drawings, **values)
