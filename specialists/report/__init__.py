"""What did the run find? One HTML page, and a few lines for the terminal."""

from specialists.report.page import summary_lines, write_report

__all__ = ["summary_lines", "write_report"]
