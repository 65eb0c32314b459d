"""What did a run, or several seeds, find? An HTML page; a table, a figure and a verdict."""

from specialists.report.closing import summary_lines
from specialists.report.markdown import comparison_figure, comparison_markdown
from specialists.report.page import render
from specialists.report.recommendation import best_at_hand, recommended
from specialists.report.run_results import DataSummary, Results
from specialists.report.verdict import verdict

__all__ = [
    "DataSummary",
    "Results",
    "best_at_hand",
    "comparison_figure",
    "comparison_markdown",
    "recommended",
    "render",
    "summary_lines",
    "verdict",
]
