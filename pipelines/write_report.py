"""Everything that was measured -> ``RUN/report.html``."""

from __future__ import annotations

from specialists.files import write_text

from .runs import Run


def execute(run: Run) -> None:
    """Draw the figures and write one HTML file that holds them."""
    from specialists.report import render

    from .finished_run import read_results

    write_text(run.folder / "report.html", render(read_results(run)))


def closing_lines(run: Run) -> list[str]:
    """What a finished run found, for the terminal."""
    from specialists.report import summary_lines

    from .finished_run import read_results

    return summary_lines(read_results(run))
