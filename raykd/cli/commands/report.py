"""Say what a sweep found, and write the page; or set two sweeps side by side."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live

from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError, StorageDeniedError
from raykd.report.efficiency.latencies import Latency, read_latencies, tokens_of_row
from raykd.report.efficiency.sizes import models_of
from raykd.report.summary import Summary, summarise
from raykd.report.terminal import WIDTH, status_line, terminal_report
from raykd.report.two_studies.comparison import compared
from raykd.report.two_studies.screen import comparison_screen
from raykd.report.write import COMPARISON_KIND, KIND, write_comparison, write_report
from raykd.storage import uris
from raykd.storage.published.ownership import require_place
from raykd.sweep.ledger import Ledger, SweepPaths, read_ledger

_POLL_SECONDS = 5


def run(options: argparse.Namespace, sweeps: Mapping[str, SweepConfig | None]) -> int:
    """Show the report and write its files; of two sweeps, show what differs between them.

    Args:
        options: The command line.
        sweeps: What each names: a sweep file with what it says, a directory with None.
    """
    found = {sweep_uri(named, sweep): named for named, sweep in sweeps.items()}
    if len(found) < len(sweeps):
        message = f"{' and '.join(sweeps)}: are one sweep, {next(iter(found))}; name two"
        raise ConfigError(message)
    uri, *others = found
    if others:
        _compare(uri, others[0], options.output)
        return 0
    output_uri = options.output
    if output_uri is None:
        output_uri = SweepPaths(sweep=uri).report
    else:
        require_place(output_uri, kind=KIND, overwrites=True)
    console = report_console()
    if not options.watch:
        ledger = read_ledger(uri)
        # While a sweep goes on its cores are busy, with other work than that of a report.
        measures = not (options.no_measure or _goes_on(ledger))
        console.print(write(ledger, output_uri, measures=measures)[1], crop=False)
        return 0
    try:
        watch(uri, output_uri, console=console, pause=_pause)
    except KeyboardInterrupt:
        console.print("not watched any more; the sweep itself goes on", markup=False)
    return 0


def _compare(first_uri: str, second_uri: str, output_uri: str | None) -> None:
    """Show two sweeps side by side, and write what differs where a directory is named."""
    if output_uri is not None:
        require_place(output_uri, kind=COMPARISON_KIND, overwrites=True)
    # Both are read before anything is shown or written: either may be none.
    first, second = (summarise(read_ledger(uri)) for uri in (first_uri, second_uri))
    studies = compared(first, second)
    report_console().print(comparison_screen(studies), crop=False)
    if output_uri is not None:
        write_comparison(studies, directory_uri=output_uri)


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
        return uris.absolute(named).rstrip("/")
    return uris.join(uris.absolute(sweep.output_uri), sweep.name)


def write(
    ledger: Ledger,
    output_uri: str,
    *,
    refresh_seconds: int | None = None,
    measures: bool = False,
) -> tuple[Summary, Group]:
    """Write the files of the report; return it as data and for the terminal.

    Args:
        ledger: Of the sweep.
        output_uri: Where the files go.
        refresh_seconds: How often the page asks to be read again; None for never.
        measures: Whether the latencies of models are measured that were not before.

    Raises:
        ConfigError: This user may not write there.
    """
    latencies = read_latencies([output_uri, SweepPaths(sweep=ledger.uri).report])
    if measures:
        latencies = _measured(ledger, latencies)
    summary = summarise(ledger, latencies=latencies)
    try:
        page_uri = write_report(
            ledger, summary, directory_uri=output_uri, refresh_seconds=refresh_seconds
        )
    except StorageDeniedError as error:
        message = f"{error}, or give raykd report another directory by --output"
        raise ConfigError(message) from error
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
    return _goes_on(ledger), repr(ledger.records)


def _goes_on(ledger: Ledger) -> bool:
    return ledger.is_driven and not ledger.is_over


def _measured(ledger: Ledger, latencies: Sequence[Latency]) -> tuple[Latency, ...]:
    """Return the latencies with those of this machine, of each model of a sweep."""
    records = list(ledger.records.values())
    if not (models := models_of(records)):
        return tuple(latencies)
    # Only here: a report that measures nothing needs no torch, which takes seconds to import.
    from raykd.report.efficiency.measure import measured  # noqa: PLC0415

    return measured(models, latencies, tokens=tokens_of_row(records)[0])


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
