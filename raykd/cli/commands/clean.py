"""Find what dead writers have left in storage: files of uploads and runs that nobody needs."""

import argparse
import time

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from raykd.cli.progress import console
from raykd.cli.tables import plain_table
from raykd.errors import ConfigError, StorageDeniedError
from raykd.garbage import find_garbage, remove_garbage
from raykd.report.units import duration
from raykd.storage.published.garbage import Garbage, left_on_this_machine

_DEFAULT_AGE_SECONDS = 3600.0


def run(options: argparse.Namespace) -> int:
    """Print what is found; remove it where asked to."""
    garbage = _garbage_below(options)
    if not garbage:
        console.print("nothing to clean")
        return 0
    console.print(garbage_table(garbage, now=time.time()))
    console.print(f"\n{_total(garbage)}", markup=False)
    if not options.delete:
        console.print("nothing is removed; --delete does it")
        return 0
    # Each is looked at once more before it goes: its writer may have come back meanwhile.
    removed = list(remove_garbage(garbage))
    console.print(f"removed: {_total(removed)}", markup=False)
    if len(removed) < len(garbage):
        console.print(f"{len(garbage) - len(removed)} are in use by now, and stay")
    return 0


def garbage_table(garbage: list[Garbage], *, now: float) -> Table:
    """Return what is found as a table."""
    table = plain_table("what", "where", "size", "age", "why")
    for each in garbage:
        age = duration(now - each.modified_at)
        table.add_row(each.what, escape(each.uri), decimal(each.num_bytes), age, each.why)
    return table


def _garbage_below(options: argparse.Namespace) -> list[Garbage]:
    """Return what is found below all URIs, each thing once.

    Raises:
        ConfigError: A URI cannot be looked at.
    """
    with_prepare = options.older_than is not None
    seconds = options.older_than if with_prepare else _DEFAULT_AGE_SECONDS
    garbage = {
        each
        for each in left_on_this_machine(with_prepare=with_prepare)
        if time.time() - each.modified_at > seconds
    }
    for uri in options.uris:
        try:
            garbage |= set(
                find_garbage(uri, older_than_seconds=seconds, with_prepare=with_prepare)
            )
        except StorageDeniedError as error:
            raise ConfigError(str(error)) from error
    return sorted(garbage, key=lambda each: each.uri)


def _total(garbage: list[Garbage]) -> str:
    return f"{len(garbage)} found, {decimal(sum(each.num_bytes for each in garbage))}"
