"""Find what dead writers have left in storage: files of uploads and runs that nobody needs.

Nothing is removed without --delete. What belongs to a run, sweep or cache with a live driver
stays, and so do committed directories and whatever raykd has not written.
"""

import argparse
import re
import time
from typing import TYPE_CHECKING

from raykd.cli.quiet import quiet_libraries
from raykd.cli.tables import plain_table
from raykd.errors import ConfigError, StorageDeniedError
from raykd.report.units import duration

if TYPE_CHECKING:
    from rich.table import Table

    from raykd.storage.published.garbage import Garbage

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DEFAULT_AGE = "1h"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd clean``."""
    parser.add_argument(
        "uris",
        nargs="+",
        metavar="URI",
        help="a run, a sweep, a cache, a directory that holds them or prepared data, or a bucket",
    )
    parser.add_argument("--delete", action="store_true", help="remove what is found")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_age,
        help=f"such as 30m, 12h, 2d; default: {_DEFAULT_AGE}, and then what raykd prepare has not "
        "finished stays: the same command continues it",
    )


def parse_age(text: str) -> float:
    """Return the seconds of an age such as 30m, 12h, 2d.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not (found := re.fullmatch(r"(\d+)([smhd])", text)):
        message = f"{text!r} is no age; give one such as 30m, 12h or 2d"
        raise argparse.ArgumentTypeError(message)
    return float(int(found[1]) * _UNIT_SECONDS[found[2]])


def run(options: argparse.Namespace) -> int:
    """Print what is found; remove it where asked to."""
    quiet_libraries()
    # Imported here: torch takes seconds, and --help must be instant.
    from raykd.cli.progress import console  # noqa: PLC0415
    from raykd.garbage import remove_garbage  # noqa: PLC0415

    found = _found(options)
    if not found:
        console.print("nothing to clean")
        return 0
    console.print(garbage_table(found, now=time.time()))
    console.print(f"\n{_total(found)}", markup=False)
    if not options.delete:
        console.print("nothing is removed; --delete does it")
        return 0
    removed = list(remove_garbage(found))
    console.print(f"removed: {_total(removed)}", markup=False)
    if len(removed) < len(found):
        console.print(f"{len(found) - len(removed)} are in use by now, and stay")
    return 0


def garbage_table(found: "list[Garbage]", *, now: float) -> "Table":
    """Return what is found as a table."""
    from rich.filesize import decimal  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    table = plain_table("what", "where", "size", "age", "why")
    for each in found:
        age = duration(now - each.modified_at)
        table.add_row(each.what, escape(each.uri), decimal(each.num_bytes), age, each.why)
    return table


def _found(options: argparse.Namespace) -> "list[Garbage]":
    """Return what is found below all URIs, each thing once.

    Raises:
        ConfigError: A URI cannot be looked at.
    """
    from raykd.garbage import find_garbage  # noqa: PLC0415
    from raykd.storage.published.garbage import left_on_this_machine  # noqa: PLC0415

    with_prepare = options.older_than is not None
    seconds = options.older_than if with_prepare else parse_age(_DEFAULT_AGE)
    found = {
        each
        for each in left_on_this_machine(with_prepare=with_prepare)
        if time.time() - each.modified_at > seconds
    }
    for uri in options.uris:
        try:
            found |= set(find_garbage(uri, older_than_seconds=seconds, with_prepare=with_prepare))
        except StorageDeniedError as error:
            raise ConfigError(str(error)) from error
    return sorted(found, key=lambda each: each.uri)


def _total(found: "list[Garbage]") -> str:
    from rich.filesize import decimal  # noqa: PLC0415

    return f"{len(found)} found, {decimal(sum(each.num_bytes for each in found))}"
