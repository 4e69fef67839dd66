"""The report in a terminal or a plain log, readable in 100 columns."""

from raykd.report.terminal.layout import WIDTH
from raykd.report.terminal.screen import status_line, terminal_report

__all__ = ["WIDTH", "status_line", "terminal_report"]
