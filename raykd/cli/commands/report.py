"""Say what a sweep found: verdicts against the controls, cost, failures; and write the page."""

import argparse
import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live

from raykd.config.schema.sweep import SweepConfig
from raykd.report.summary import Summary, summarise
from raykd.report.terminal import WIDTH, status_line, terminal_report
from raykd.report.write import KIND, write_report
from raykd.storage import uris
from raykd.storage.published.ownership import require_place
from raykd.sweep.ledger import Ledger, SweepPaths, read_ledger

_POLL_SECONDS = 5


def run(options: argparse.Namespace, sweep: SweepConfig | None) -> int:
    """Show the report and write its files."""
    uri = sweep_uri(options.sweep, sweep)
    output_uri = options.output
    if output_uri is None:
        output_uri = SweepPaths(sweep=uri).report
    else:
        require_place(output_uri, kind=KIND, overwrites=True)
    console = report_console()
    if not options.watch:
        console.print(write(read_ledger(uri), output_uri)[1], crop=False)
        return 0
    try:
        watch(uri, output_uri, console=console, pause=_pause)
    except KeyboardInterrupt:
        console.print("not watched any more; the sweep itself goes on", markup=False)
    return 0


def report_console() -> Console:
    """Return the terminal, or a log that is wide enough for a report."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def sweep_uri(named: str, sweep: SweepConfig | None) -> str:
    """Return the directory of the sweep that a command line names.

    Args:
        named: A sweep file, or the directory itself.
        sweep: What the file says; None where the directory is named.
    """
    if sweep is None:
        return uris.absolute(named)
    return uris.join(uris.absolute(sweep.output_uri), sweep.name)


def write(
    ledger: Ledger, output_uri: str, *, refresh_seconds: int | None = None
) -> tuple[Summary, Group]:
    """Write the files of the report; return it as data and for the terminal."""
    summary = summarise(ledger)
    page_uri = write_report(
        ledger, summary, directory_uri=output_uri, refresh_seconds=refresh_seconds
    )
    return summary, terminal_report(summary, page_uri=page_uri)


def watch(uri: str, output_uri: str, *, console: Console, pause: Callable[[], None]) -> None:
    """Show the report in place while the sweep goes on; in a log, one line for each change.

    Args:
        uri: Directory of the sweep.
        output_uri: Where the files go, again after each change.
        console: Terminal or log.
        pause: Called between two looks at the ledger.
    """
    # Without a thread of its own: the block is drawn after its files are written, not during.
    with Live(console=console, auto_refresh=False, transient=True) as live:
        goes_on, known = _state(ledger := read_ledger(uri))
        report = _show(ledger, output_uri, live, goes_on=goes_on)
        while goes_on:
            pause()
            before = goes_on, known
            goes_on, known = _state(ledger := read_ledger(uri))
            if (goes_on, known) != before:
                report = _show(ledger, output_uri, live, goes_on=goes_on)
    console.print(report, crop=False)


def _state(ledger: Ledger) -> tuple[bool, str]:
    """Return whether a sweep goes on, and what is known of its runs, to be compared."""
    # As text: a loss that is not a number equals itself there.
    return ledger.is_driven and not ledger.is_over, repr(ledger.records)


def _show(ledger: Ledger, output_uri: str, live: Live, *, goes_on: bool) -> Group:
    """Write the files and show the report, or its status in a log; return the report."""
    summary, report = write(ledger, output_uri, refresh_seconds=_POLL_SECONDS if goes_on else None)
    if live.console.is_terminal:
        live.update(report, refresh=True)
    else:
        live.console.print(status_line(summary), markup=False)
    return report


def _pause() -> None:
    time.sleep(_POLL_SECONDS)
