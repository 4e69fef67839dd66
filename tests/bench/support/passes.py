"""Ways to read take turns, pass by pass over one data set: tokens/s and CPU time of each."""

import statistics
import time
from dataclasses import dataclass

from rich.table import Table

from tests.bench.support.loaders import Way

NAIVE, NAIVE_MASKED = "datasets iterable", "datasets iterable, masked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """One pass over the data set, opening it included."""

    wall_seconds: float
    cpu_seconds: float
    """Of all threads."""


Passes = dict[str, list[Pass]]
"""The name of a way to its passes, one a round."""


def require_same_tokens(ways: list[Way]) -> None:
    """Read once in every way that changes no token, which also warms up files and imports.

    Raises:
        ValueError: Two ways read different tokens.
    """
    sums = {
        way.name: sum(int(ids.sum()) for ids in way.batches()) for way in ways if not way.masks
    }
    if len(set(sums.values())) != 1:
        message = f"the ways read different tokens; their sums are {sums}"
        raise ValueError(message)


def timed_passes(ways: list[Way], *, rounds: int) -> Passes:
    """Return the passes of each way; every round lets each way read once."""
    passes: Passes = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ids in way.batches():
                pass
            one = Pass(
                wall_seconds=time.perf_counter() - wall, cpu_seconds=time.process_time() - cpu
            )
            passes[way.name].append(one)
    return passes


def median_seconds(passes: list[Pass]) -> float:
    """Return the median wall seconds of a pass."""
    return statistics.median(one.wall_seconds for one in passes)


def median_ratio(passes: list[Pass], naive: list[Pass]) -> float:
    """Return how many times faster than the naive way it is: the median over the rounds."""
    return statistics.median(
        slow.wall_seconds / one.wall_seconds for one, slow in zip(passes, naive, strict=True)
    )


def speed_table(ways: list[Way], passes: Passes, *, tokens: int) -> Table:
    """Return tokens/s of each way and its ratio to the naive way that does the same."""
    table = Table(title=f"Reading {tokens:,} tokens into int64 batches [32, 128]")
    table.add_column("way")
    table.add_column("what it does")
    for column in ("M tokens/s", "CPU ns/token", "x iterable"):
        table.add_column(column, justify="right", no_wrap=True)
    for way in sorted(ways, key=lambda way: way.masks):
        own, naive = passes[way.name], passes[NAIVE_MASKED if way.masks else NAIVE]
        cpu_seconds = statistics.median(one.cpu_seconds for one in own)
        table.add_row(
            way.name,
            way.does,
            f"{tokens / median_seconds(own) / 1e6:.1f}",
            f"{cpu_seconds / tokens * 1e9:.1f}",
            f"{median_ratio(own, naive):.1f}",
        )
    return table
