"""Everything that was measured -> ``RUN/report.html``."""

from __future__ import annotations

from pathlib import Path

from specialists.files import disk_use, write_text

from .runs import Run


def execute(run: Run) -> None:
    """Draw the figures and write one HTML file that holds them."""
    from specialists.report import render

    from .finished_run import read_results

    write_text(run.folder / "report.html", render(read_results(run)))


def closing_lines(run: Run) -> list[str]:
    """What a finished run found, for the terminal, and what makes the model that it advises."""
    from specialists.catalogue import BASELINES
    from specialists.report import recommended, summary_lines

    from .finished_run import read_results
    from .kept_weights import keeping_command, lacks_weights

    results = read_results(run)
    lines, advised = summary_lines(results), recommended(results.comparison)
    if advised in BASELINES and lacks_weights(run.folder, advised):
        lines.insert(1, f"  its weights: `{keeping_command(run.folder)}`")
    return lines


def disk_line(folder: Path) -> str:
    """How much of the disk the files in a folder take, for the terminal."""
    from specialists.report.numbers import disk_space

    return f"disk: {disk_space(disk_use(folder))} in {folder}"
