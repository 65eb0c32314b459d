"""Everything that was measured -> ``RUN/report.html``."""

from __future__ import annotations

from specialists.runs import Run

from .evaluate_models import STAGE as EVALUATION
from .stage import Stage


def execute(run: Run) -> None:
    """Draw the figures and write one HTML file that holds them."""
    from specialists.report import write_report

    write_report(run)


STAGE = Stage(
    name="write-report",
    sections=(*EVALUATION.sections, "report"),
    inputs=(
        *EVALUATION.inputs,
        "evaluation.json",
        "evaluate-models/details.json",
        "evaluate-models/controls/*/*",
    ),
    execute=execute,
    outputs=("report.html",),
)
