"""What successive halving saves, and that killing its driver changes no decision.

    python tests/bench/halving.py [--small]

``raykd sweep`` trains one grid three times, each time from nothing, two trials at a time:

    grid      every trial to its last step
    asha      weak trials stop early
    killed    the same, but the driver is killed (SIGKILL) in the middle and started again, twice

Tokens are those at the last evaluation of each trial: steps that were lost with the driver and
taken again count once. Exit status 1 if a claim in the second table fails.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.storage import uris
from raykd.sweep.grid.coordinates import run_labels
from raykd.sweep.ledger import Ledger, SweepPaths, read_ledger
from raykd.sweep.record import Record, State, Stop
from rich.console import Console
from rich.table import Table

from tests.prepared import write_prepared
from tests.small_runs import TINY_LLAMA
from tests.sweep_files import SMALL, WEIGHT, write_runs, write_sweep

NUM_STEPS = 96
EVAL_EVERY_STEPS = 4
_POLL_SECONDS = 0.3
_NEARLY = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How wide the grid is, and how often its driver dies."""

    rates: tuple[float, ...]
    weights: tuple[float | str, ...]
    kills: tuple[int, ...]
    """The driver is killed as soon as so many trials are over."""


WIDE = Size(rates=(1e-2, 3e-2, 3e-3, 1e-3), weights=(0.5, 1.0, 4.0, "4 -> 1"), kills=(4, 11))
FEW = Size(rates=(1e-2, 1e-3), weights=(0.5, 4.0), kills=(2,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a way to run the grid ended."""

    trials: dict[str, Record]
    """By their coordinates."""

    seconds: float
    starts: int
    """Of the driver."""

    @property
    def stops(self) -> dict[str, Stop]:
        """The scheduler's decisions."""
        return {label: r.stop for label, r in self.trials.items() if r.stop is not None}

    @property
    def finals(self) -> dict[str, float]:
        """Loss at the end of each trial that is done."""
        done = {label: r for label, r in self.trials.items() if r.state is State.DONE}
        return {label: r.last_evaluation["eval/loss"] for label, r in done.items()}

    @property
    def tokens(self) -> int:
        """Of all trials."""
        return sum(record.tokens for record in self.trials.values())

    @property
    def best(self) -> str:
        """The trial with the lowest loss."""
        return min(self.finals, key=lambda label: self.finals[label])

    @property
    def num_interrupted(self) -> int:
        """Attempts that ended with the driver."""
        attempts = (a for record in self.trials.values() for a in record.attempts)
        return sum(a.ended_at is None for a in attempts)


def main() -> int:
    """Run the grid in the three ways; return 1 where a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="4 trials instead of 16")
    options = parser.parse_args()
    size = FEW if options.small else WIDE
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        root, asha = Path(directory), {"asha": {"first_rung": 0.25}}
        ways = {
            "grid": outcome(root / "grid", size, scheduler=None),
            "asha": outcome(root / "asha", size, scheduler=asha),
            "killed": outcome(root / "killed", size, scheduler=asha, kills=size.kills),
        }
    claims = claims_of(ways, num_kills=len(size.kills))
    console = Console()
    console.print(outcome_table(ways))
    console.print(claim_table(claims))
    return 0 if all(claims.values()) else 1


def outcome(directory: Path, size: Size, *, scheduler: Any, kills: Sequence[int] = ()) -> Outcome:
    """Bring the grid to its end in one way."""
    path = write_grid(directory, size, scheduler)
    uri = str(directory / "sweeps" / "study")
    started_at = time.monotonic()
    for num_over in kills:
        kill_driver(path, uri, num_over)
    with driver(path) as process:
        status = process.wait()
    seconds = time.monotonic() - started_at
    if status:
        message = f"raykd sweep ended with {status}:\n{path.with_suffix('.log').read_text()}"
        raise RuntimeError(message)
    return Outcome(trials=labelled(read_ledger(uri)), seconds=seconds, starts=len(kills) + 1)


def write_grid(directory: Path, size: Size, scheduler: Any) -> Path:
    """Write a teacher, the base and the sweep, and data from which a tiny model can learn."""
    directory.mkdir()
    splits = {"train": {"de": [50] * 8, "en": [50] * 8}, "validation": {"de": [40], "en": [40]}}
    write_prepared(directory / "data", splits)
    batch = {"global_batch_size": 16, "micro_batch_size": 16}
    train = batch | {"num_steps": NUM_STEPS, "eval_every_steps": EVAL_EVERY_STEPS}
    write_runs(directory, train=train, checkpoint={"every_steps": 12})
    teacher = {"train.num_steps": NUM_STEPS, "optimizer.learning_rate": 1e-2}
    return write_sweep(
        directory,
        {
            # The next word follows from the one before: learned in a few steps.
            "overrides": {"task": "causal_lm", "student.architecture": TINY_LLAMA},
            "teachers": {"small": SMALL | {"overrides": teacher}},
            "search": {
                "optimizer.learning_rate": {"grid": list(size.rates)},
                WEIGHT: {"grid": list(size.weights)},
            },
            "controls": False,
            "scheduler": scheduler,
        },
    )


def driver(path: Path) -> subprocess.Popen[bytes]:
    """Start ``raykd sweep`` on a sweep file, with a log beside it."""
    with path.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "raykd", "sweep", str(path)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def kill_driver(path: Path, uri: str, num_over: int) -> None:
    """Start a driver and kill it as soon as so many trials are over."""
    with driver(path) as process:
        while process.poll() is None and trials_over(uri) < num_over:
            time.sleep(_POLL_SECONDS)
        process.kill()


def trials_over(uri: str) -> int:
    """Return how many trials of a sweep have ended in some way."""
    if not uris.exists(SweepPaths(sweep=uri).index):
        return 0
    return sum(record.state.is_terminal for record in read_ledger(uri).trials)


def labelled(ledger: Ledger) -> dict[str, Record]:
    """Return the trials by their coordinates: their ids hold where the teacher lies."""
    labels = run_labels(ledger.records.values())
    return {labels[record.id]: record for record in ledger.trials}


def claims_of(ways: Mapping[str, Outcome], *, num_kills: int) -> dict[str, bool]:
    """Return what is to be true, and whether it is."""
    grid, asha, killed = ways["grid"], ways["asha"], ways["killed"]
    return {
        "trials that end in two ways end with the same loss": all(
            math.isclose(value, grid.finals[label], abs_tol=_NEARLY)
            for way in (asha, killed)
            for label, value in way.finals.items()
        ),
        "the best trial of the grid is kept": asha.best == killed.best == grid.best,
        "halving trains on fewer tokens": asha.tokens < grid.tokens,
        f"{num_kills} kill(s) hit trials at work": killed.num_interrupted >= num_kills,
        "killed or not, the same trials stop, at the same rungs and losses": (
            killed.stops == asha.stops and bool(asha.stops)
        ),
    }


def outcome_table(ways: Mapping[str, Outcome]) -> Table:
    """Return a column for each way."""
    grid = ways["grid"]
    table = Table(
        title=f"{len(grid.trials)} trials of {NUM_STEPS} steps, two at a time",
        caption=f"best of the grid: {grid.best}",
    )
    table.add_column("")
    for name in ways:
        table.add_column(name, justify="right")
    rows: dict[str, Callable[[Outcome], str]] = {
        "trials stopped, share": lambda way: f"{len(way.stops) / len(way.trials):.2f}",
        "stopped, at rungs of tokens": rungs_text,
        "tokens": lambda way: f"{way.tokens:,}",
        "tokens saved, share": lambda way: f"{1 - way.tokens / grid.tokens:.2f}",
        "lowest loss": lambda way: f"{way.finals[way.best]:.6f}",
        "starts of the driver": lambda way: str(way.starts),
        "attempts that ended with it": lambda way: str(way.num_interrupted),
        "seconds": lambda way: f"{way.seconds:.0f}",
    }
    for heading, text in rows.items():
        table.add_row(heading, *map(text, ways.values()))
    return table


def rungs_text(way: Outcome) -> str:
    """Return how many trials stopped at each rung."""
    stopped = Counter(stop.rung_tokens for stop in way.stops.values())
    return ", ".join(f"{stopped[rung]} at {rung:,}" for rung in sorted(stopped))


def claim_table(claims: Mapping[str, bool]) -> Table:
    """Return a line for each claim."""
    table = Table()
    table.add_column("claim")
    table.add_column("holds")
    for claim, holds in claims.items():
        table.add_row(claim, "yes" if holds else "NO")
    return table


if __name__ == "__main__":
    sys.exit(main())
