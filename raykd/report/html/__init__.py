"""The report as one HTML page: it needs no network, no script and nothing beside it."""

from raykd.report.html.document import page

__all__ = ["page"]
