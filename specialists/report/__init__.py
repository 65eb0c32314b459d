"""What did a run, or several seeds, find? An HTML page; a table, a figure and a verdict."""

from specialists.report.advice import verdict
from specialists.report.page import summary_lines, write_report
from specialists.report.seeds import comparison_figure, comparison_markdown

__all__ = ["comparison_figure", "comparison_markdown", "summary_lines", "verdict", "write_report"]
