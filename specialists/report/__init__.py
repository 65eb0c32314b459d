"""What did a run, or several seeds, find? An HTML page; a table, a figure and a verdict."""

from specialists.report.markdown import comparison_figure, comparison_markdown
from specialists.report.page import render, summary_lines
from specialists.report.run_results import DataSummary, Results
from specialists.report.verdict import recommended, verdict

__all__ = [
    "DataSummary",
    "Results",
    "comparison_figure",
    "comparison_markdown",
    "recommended",
    "render",
    "summary_lines",
    "verdict",
]
