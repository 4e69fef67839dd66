"""How far ``raykd prepare`` is: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console

from raykd.data.prepare.report import Progress

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield what shows progress: a bar on a terminal, a line now and then in a log."""
    if not sys.stderr.isatty():
        yield _lines_in_a_log()
        return
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("reading", total=None)

        def show(progress: Progress) -> None:
            share = progress.share
            bars.update(
                bar,
                description=_line(progress),
                # Of a stream nobody knows the length: the bar then moves without an end.
                total=None if share is None else 1.0,
                completed=share or 0.0,
            )

        yield show


def _lines_in_a_log() -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            share = "" if progress.share is None else f" {progress.share:4.0%}"
            print(f"{_line(progress)}{share}", file=sys.stderr, flush=True)

    return show


def _line(progress: Progress) -> str:
    counts = f" {progress.examples:>12,} texts {progress.tokens:>14,} tokens"
    return f"{progress.stage:<10}" + (counts if progress.examples else "")
