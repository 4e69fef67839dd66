"""The files of a report, each replaced whole: readers see the old or the new one."""

from raykd import strict_json
from raykd.report import html
from raykd.report.pairing import pairing_of
from raykd.report.summary import Summary
from raykd.report.tables import evaluations_table, parquet, trials_table
from raykd.storage import uris
from raykd.storage.published.publishing import write_files
from raykd.sweep.ledger import Ledger

KIND = "report"
PAGE = "report.html"


def write_report(
    ledger: Ledger, summary: Summary, *, directory_uri: str, refresh_seconds: int | None = None
) -> str:
    """Write the page, the summary and the tables; return the page's URI.

    Args:
        ledger: What the summary is of.
        summary: What the ledger says.
        directory_uri: Where the files go.
        refresh_seconds: How often the page asks to be read again; None for never.
    """
    pairing = pairing_of(ledger)
    page = html.page(summary, refresh_seconds=refresh_seconds)
    contents = {
        "trials.parquet": parquet(trials_table(pairing)),
        "evaluations.parquet": parquet(evaluations_table(pairing.ledger)),
        "summary.json": strict_json.file_content(summary),
        # Files are written in this order: whoever sees a new page finds the numbers that it refers
        # to.
        PAGE: page.encode(),
    }
    write_files(directory_uri, contents, kind=KIND)
    return uris.join(directory_uri, PAGE)
