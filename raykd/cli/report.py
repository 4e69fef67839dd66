"""Say what a sweep found: verdicts against the controls, cost, failures; and write the page."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from raykd.cli.quiet import quiet_libraries
from raykd.config.load import load_sweep
from raykd.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live

    from raykd.report.summary import Summary
    from raykd.sweep.ledger import Ledger

_POLL_SECONDS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd report``."""
    parser.add_argument(
        "sweep", metavar="SWEEP", help="sweep file, or the directory of a sweep, such as s3://..."
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="beside a sweep file: what raykd sweep was given, such as output_uri=s3://...",
    )
    parser.add_argument(
        "--watch", action="store_true", help="show it while the sweep goes on, or until Ctrl-C"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="directory of the files, new or with a report; default: report/ in the sweep's",
    )


def run(options: argparse.Namespace) -> int:
    """Show the report and write its files."""
    uri = sweep_uri(options.sweep, options.overrides)
    quiet_libraries()
    # Imported here: Arrow takes a second, and --help must be instant.
    from raykd.sweep.ledger import SweepPaths, read_ledger  # noqa: PLC0415

    output_uri = options.output
    if output_uri is None:
        output_uri = SweepPaths(sweep=uri).report
    else:
        from raykd.report.write import KIND  # noqa: PLC0415
        from raykd.storage.published.ownership import require_place  # noqa: PLC0415

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


def report_console() -> "Console":
    """Return the terminal, or a log that is wide enough for a report."""
    from rich.console import Console as Terminal  # noqa: PLC0415  --help must be instant

    from raykd.report.terminal import WIDTH  # noqa: PLC0415

    console = Terminal(highlight=False)
    return console if console.is_terminal else Terminal(highlight=False, width=WIDTH)


def sweep_uri(named: str, overrides: list[str]) -> str:
    """Return the directory of the sweep that a command line names.

    Args:
        named: A sweep file, or the directory itself.
        overrides: Of the sweep file.

    Raises:
        ConfigError: The file is no sweep, or a directory is given with overrides.
    """
    from raykd.storage import uris  # noqa: PLC0415  --help must be instant

    if named.endswith((".yaml", ".yml")):
        sweep = load_sweep(Path(named), overrides)
        return uris.join(uris.absolute(sweep.output_uri), sweep.name)
    if overrides:
        message = f"{named}: is a directory, which takes no {overrides[0]}; give the sweep file"
        raise ConfigError(message)
    return uris.absolute(named)


def write(
    ledger: "Ledger", output_uri: str, *, refresh_seconds: int | None = None
) -> "tuple[Summary, Group]":
    """Write the files of the report; return it as data and for the terminal."""
    from raykd.report.summary import summarise  # noqa: PLC0415  --help must be instant
    from raykd.report.terminal import terminal_report  # noqa: PLC0415
    from raykd.report.write import write_report  # noqa: PLC0415

    summary = summarise(ledger)
    page_uri = write_report(
        ledger, summary, directory_uri=output_uri, refresh_seconds=refresh_seconds
    )
    return summary, terminal_report(summary, page_uri=page_uri)


def watch(uri: str, output_uri: str, *, console: "Console", pause: Callable[[], None]) -> None:
    """Show the report in place while the sweep goes on; in a log, one line for each change.

    Args:
        uri: Directory of the sweep.
        output_uri: Where the files go, again after each change.
        console: Terminal or log.
        pause: Called between two looks at the ledger.
    """
    from rich.live import Live as Display  # noqa: PLC0415  --help must be instant

    from raykd.sweep.ledger import read_ledger  # noqa: PLC0415

    with Display(console=console, auto_refresh=False, transient=True) as live:
        goes_on, known = _state(ledger := read_ledger(uri))
        report = _show(ledger, output_uri, live, goes_on=goes_on)
        while goes_on:
            pause()
            before = goes_on, known
            goes_on, known = _state(ledger := read_ledger(uri))
            if (goes_on, known) != before:
                report = _show(ledger, output_uri, live, goes_on=goes_on)
    console.print(report, crop=False)


def _state(ledger: "Ledger") -> tuple[bool, str]:
    """Return whether a sweep goes on, and what is known of its runs, to be compared."""
    # As text: a loss that is not a number equals itself there.
    return ledger.is_driven and not ledger.is_over, repr(ledger.records)


def _show(ledger: "Ledger", output_uri: str, live: "Live", *, goes_on: bool) -> "Group":
    """Write the files and show the report, or its status in a log; return the report."""
    from raykd.report.terminal import status_line  # noqa: PLC0415  --help must be instant

    summary, report = write(ledger, output_uri, refresh_seconds=_POLL_SECONDS if goes_on else None)
    if live.console.is_terminal:
        live.update(report, refresh=True)
    else:
        live.console.print(status_line(summary), markup=False)
    return report


def _pause() -> None:
    time.sleep(_POLL_SECONDS)
