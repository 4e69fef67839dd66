"""How fast raykd reads beside other readers, its share of a training step, and its memory.

    python tests/bench/streaming.py [--small]

The ways to read take turns in one process, medians are shown: other work on the machine slows
all alike, so ratios say more than seconds. Exit status 1 if raykd's memory grows with the data.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from raykd.batch import Batch
from raykd.config.schema.data import DataConfig
from raykd.data.prefetch import prefetched
from rich.console import Console

from tests.bench.support.loaders import (
    BATCH_ROWS,
    datasets_ways,
    pyarrow_way,
    raykd_ways,
    task_batches,
)
from tests.bench.support.memory import growth, held_in_own_process, memory_table
from tests.bench.support.passes import (
    NAIVE,
    NAIVE_MASKED,
    median_ratio,
    median_seconds,
    require_same_tokens,
    speed_table,
    timed_passes,
)
from tests.bench.support.token_set import ROW_TOKENS, batch_bytes, write_token_set
from tests.bench.support.training_share import share_table, trained

RECORD_BATCH_ROWS = 4096
"""One MiB of tokens."""

MASKED = "raykd masked_lm"

_STEPS_AHEAD = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much to measure."""

    num_rows: int
    rounds: int
    num_steps: int
    memory_batches: int
    """Record batches to stream: more than 50 times what the lanes hold."""

    memory_lanes: int
    memory_ways: tuple[str, ...]


FULL = Size(
    num_rows=156_256,
    rounds=3,
    num_steps=100,
    memory_batches=416,
    memory_lanes=4,
    memory_ways=("raykd rows", MASKED, "datasets map", NAIVE, "pyarrow, in order"),
)
SMALL = Size(
    num_rows=8_192,
    rounds=1,
    num_steps=5,
    memory_batches=208,
    memory_lanes=4,
    memory_ways=("raykd rows",),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Requirement:
    """Something to show."""

    text: str
    figure: str
    is_reached: bool


def speed_and_share(size: Size, directory: Path, console: Console) -> list[Requirement]:
    """Time all ways, then training steps, on one data set."""
    manifest = write_token_set(
        directory / "data", num_rows=size.num_rows, batch_rows=RECORD_BATCH_ROWS
    )
    config = DataConfig(uri=manifest.uri)
    ways = [
        *raykd_ways(manifest, config),
        *datasets_ways(manifest, directory / "cache"),
        pyarrow_way(manifest),
    ]
    require_same_tokens(ways)
    passes = timed_passes(ways, rounds=size.rounds)
    console.print(speed_table(ways, passes, tokens=size.num_rows * ROW_TOKENS))
    seconds_per_batch = {
        way.name: median_seconds(passes[way.name]) * BATCH_ROWS / size.num_rows
        for way in ways
        if way.masks
    }
    return [
        _faster("rows, not collated", median_ratio(passes["raykd rows"], passes[NAIVE])),
        _faster("batches", median_ratio(passes["raykd causal_lm"], passes[NAIVE])),
        _faster("masked batches", median_ratio(passes[MASKED], passes[NAIVE_MASKED])),
        share(
            lambda: task_batches(manifest, config, task="masked_lm"),
            seconds_per_batch=seconds_per_batch,
            num_steps=size.num_steps,
            console=console,
        ),
    ]


def share(
    batches: Callable[[], Iterator[Batch]],
    *,
    seconds_per_batch: dict[str, float],
    num_steps: int,
    console: Console,
) -> Requirement:
    """Train on batches that are there, that are read between the steps, and ahead of them."""
    step_seconds = trained(list(itertools.islice(batches(), num_steps))).step_seconds
    between = trained(itertools.islice(batches(), num_steps)).waiting_seconds
    ahead = prefetched(batches(), depth=_STEPS_AHEAD)
    seconds = {
        **seconds_per_batch,
        f"{MASKED}, read between steps": between,
        f"{MASKED}, waiting while prefetched": trained(
            itertools.islice(ahead, num_steps)
        ).waiting_seconds,
    }
    console.print(share_table(seconds, step_seconds=step_seconds))
    return Requirement(
        text="reading masked batches between steps takes < 2 % of a step",
        figure=f"{between / step_seconds:.2%}",
        is_reached=between / step_seconds < 0.02,
    )


def memory(size: Size, directory: Path, console: Console) -> list[Requirement]:
    """Stream a set 50 times the buffer in each way and print what the processes hold."""
    write_token_set(
        directory / "data",
        num_rows=size.memory_batches * RECORD_BATCH_ROWS,
        batch_rows=RECORD_BATCH_ROWS,
    )
    held = {
        way: held_in_own_process(way, directory=directory, num_lanes=size.memory_lanes)
        for way in size.memory_ways
    }
    buffer_bytes = size.memory_lanes * batch_bytes(RECORD_BATCH_ROWS)
    set_bytes = size.memory_batches * batch_bytes(RECORD_BATCH_ROWS)
    title = (
        f"Memory while streaming {set_bytes >> 20} MiB through a buffer of {buffer_bytes >> 20} "
        f"MiB (lanes x window x record batch) and as much read ahead"
    )
    console.print(memory_table(held, title=title))
    return [
        Requirement(
            text=f"memory of {way} grows by at most 2 buffers after the first 5 %",
            figure=f"{growth(stages) / buffer_bytes:.2f} buffers",
            is_reached=growth(stages) <= 2 * buffer_bytes,
        )
        for way, stages in held.items()
        if way.startswith("raykd")
    ]


def _faster(text: str, ratio: float) -> Requirement:
    return Requirement(
        text=f"{text}: >= 5 x datasets iterable", figure=f"{ratio:.1f} x", is_reached=ratio >= 5
    )


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    size = SMALL if parser.parse_args().small else FULL
    console = Console(width=110)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        speeds = speed_and_share(size, Path(directory, "speed"), console)
        memories = memory(size, Path(directory, "memory"), console)
    for one in (*speeds, *memories):
        console.print(
            f"{'reached    ' if one.is_reached else 'NOT REACHED'}  {one.text}: {one.figure}"
        )
    return 0 if all(one.is_reached for one in memories) else 1


if __name__ == "__main__":
    sys.exit(main())
