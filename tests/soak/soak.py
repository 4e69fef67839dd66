"""One training on a real S3 server behind a faulty proxy, with kills of random processes.

    python tests/soak/soak.py --minutes 30 [--workers 2] [--server radosgw] [--seed N]

The run is ``raykd train`` with its data and output in the store; a few per cent of all requests
fail. The trainer, a Ray worker or the server are killed, or the store is cut off, at random
moments; the trainer is started again each time. In the last quarter of a long soak the store alone
suffers, so that one trainer lives long enough to tell whether it grows. After so many minutes the
run is left alone to its end. Beside it the same run goes on smoothly on the local disk. The table
says what was done and what must hold; the exit status is 1 where something does not.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from raykd.config.schema.run import RunConfig
from rich.console import Console

from tests.soak import verdict
from tests.soak.chaos import Chaos, Pace
from tests.soak.losses import losses
from tests.soak.store import SERVERS, Store, faulty_store
from tests.soak.training import (
    CHECKPOINT_STEPS,
    Speed,
    measured_speed,
    read_notes,
    run_directory,
    start,
    training,
    write_data,
)
from tests.soak.verdict import Line
from tests.soak.watch import Watch, growth

_SHORT_MINUTES = 5.0
_ROUGH = Pace(seconds_between=(5.0, 75.0), outage_seconds=(5.0, 60.0), spared_share=0.25)
_SHORT_OUTAGE_SECONDS = (2.0, 10.0)
_SHORT_STARTS = (0.4, 2.5)
"""From one event to the next of a short soak, in times that a start takes."""

_FEWEST_STARTS = 5
"""However slow the machine is, it is rough for as long as so many starts take."""

_SHORT_TRAINING_SHARE = 0.45
"""Share of the time that a short run takes its steps in, at the speed it has alone: the rest goes
into starts, steps taken twice, and the smooth run beside it. A long one has steps for all of the
time, so that it is rough to the last minute."""

_START_PATIENCE_SECONDS = 60.0
"""A start gives up this long after the store went away: nothing is lost by that."""

_MOST_EXITS = 5
"""Failures after which it is no use to start once more."""

_POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What the program is asked for."""

    minutes: float
    workers: int = 0
    server: str = "rclone"
    seed: int = 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Soaked:
    """The run, and where this program keeps what it learns of it."""

    config: RunConfig
    pace: Pace
    rough_seconds: float
    """How long it is killed again and again."""

    directory: Path

    @property
    def spared_seconds(self) -> float:
        """How long, at the end of that, the trainer is not killed."""
        return self.pace.spared_share * self.rough_seconds

    @property
    def notes(self) -> Path:
        """Every step."""
        return self.directory / "notes.jsonl"

    @property
    def log(self) -> Path:
        """What all trainers printed."""
        return self.directory / "log.txt"

    @property
    def bucket(self) -> Path:
        """What is in the store at the end."""
        return self.directory / "bucket"

    def has_stepped(self, process_id: int) -> bool:
        """Tell whether a trainer has taken a step; under Ray that is not known, and assumed."""
        if self.config.cluster.num_workers:
            return True
        return bool(notes := read_notes(self.notes)) and notes[-1]["process"] == process_id


def soak(directory: Path, options: Options) -> list[Line]:
    """Train under fire and beside that smoothly; return what is found."""
    write_data(directory / "data")
    speed = measured_speed(directory)
    share = 1.0 if options.minutes >= _SHORT_MINUTES else _SHORT_TRAINING_SHARE
    seconds_of_training = options.minutes * 60 * share
    num_steps = max(3 * CHECKPOINT_STEPS, int(seconds_of_training / speed.step_seconds))

    def at(root: str, output: str) -> RunConfig:
        data_uri, output_uri = f"{root}/data", f"{root}/{output}"
        return training(data_uri, output_uri, num_steps=num_steps, num_workers=options.workers)

    with faulty_store(directory, server=options.server, seed=options.seed) as store:
        store.put(directory / "data")
        smooth, config = at(str(directory), "smooth"), at(store.uri, "runs")
        soaked = Soaked(
            config=config,
            pace=pace_of(options, speed),
            rough_seconds=max(options.minutes * 60, _FEWEST_STARTS * speed.start_seconds),
            directory=directory / "soaked",
        )
        with beside(smooth, directory / "beside"):
            found = under_fire(soaked, store, options)
        return [
            Line(what="steps", found=f"{num_steps}, alone {speed.step_seconds:.3f} s each"),
            Line(what="start", found=f"alone {speed.start_seconds:.1f} s"),
            *found,
            *verdict.numbers(
                run_directory(config, soaked.bucket / "runs"),
                run_directory(smooth, directory / "smooth"),
                num_steps=num_steps,
            ),
        ]


@contextmanager
def beside(config: RunConfig, directory: Path) -> Iterator[None]:
    """Train smoothly while the block runs, and to the end."""
    directory.mkdir()
    log = directory / "log.txt"
    process = start(config, directory, notes=directory / "notes.jsonl", log=log)
    try:
        yield
        if process.wait():
            raise RuntimeError(log.read_text())
    finally:
        process.kill()


def pace_of(options: Options, speed: Speed) -> Pace:
    """Return how rough it is: a short soak is as rough as it can be and still get on."""
    if options.minutes >= _SHORT_MINUTES:
        return _ROUGH
    first, last = (starts * speed.start_seconds for starts in _SHORT_STARTS)
    return Pace(seconds_between=(first, last), outage_seconds=_SHORT_OUTAGE_SECONDS)


def under_fire(soaked: Soaked, store: Store, options: Options) -> list[Line]:
    """Train to the end whatever happens; return what that took, and what is left."""
    soaked.directory.mkdir()
    chaos = Chaos(store, pace=soaked.pace, has_workers=options.workers > 0, seed=options.seed)
    watch = Watch()
    started = time.monotonic()
    with watch.running():
        exits = endure(soaked, chaos, watch, until=started + soaked.rough_seconds)
    seconds = time.monotonic() - started
    pending = store.pending_uploads()
    notes = read_notes(soaked.notes)
    cleaned = clean(store)
    store.fetch(soaked.bucket)
    return [
        Line(
            what="minutes to the end",
            found=f"{seconds / 60:.1f}, rough {soaked.rough_seconds / 60:.1f}",
        ),
        *verdict.harm(chaos.counts, exits),
        *verdict.costs(losses(notes), every_steps=CHECKPOINT_STEPS),
        cleaned,
        *verdict.remains(store, pending=pending, temporary=soaked.directory / "tmp"),
        *verdict.halves(soaked.bucket),
        *verdict.traffic(store, log=soaked.log),
        *verdict.resources(growth(watch.lives, notes)),
    ]


def endure(soaked: Soaked, chaos: Chaos, watch: Watch, *, until: float) -> list[str]:
    """Start the trainer as often as it takes; return how it failed without being killed."""
    pause = threading.Event()
    exits: list[str] = []
    moment = chaos.next_moment()
    while True:
        process = start(soaked.config, soaked.directory, notes=soaked.notes, log=soaked.log)
        watch.follow(process.pid)
        while process.poll() is None:
            if moment.due <= time.monotonic() < until and (
                not moment.needs_step or soaked.has_stepped(process.pid)
            ):
                is_late = time.monotonic() > until - soaked.spared_seconds
                chaos.strike(process.pid, spares_trainer=is_late)
                moment = chaos.next_moment()
            pause.wait(_POLL_SECONDS)
        if process.returncode == 0:
            return exits
        has_excuse = chaos.was_away(seconds=_START_PATIENCE_SECONDS)
        if process.returncode != -signal.SIGKILL and not has_excuse:
            exits.append(soaked.log.read_text(errors="replace").splitlines()[-1])
        if len(exits) == _MOST_EXITS:
            raise RuntimeError("\n".join(exits))


def clean(store: Store) -> Line:
    """Remove what dead trainers have left, as a user would."""
    command = [sys.executable, "-m", "raykd", "clean", store.uri, "--delete", "--older-than", "0m"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).strip().splitlines()
    return Line(
        what="raykd clean",
        found=f"exit status {done.returncode}: {said[-1] if said else ''}",
        required="0",
        holds=done.returncode == 0,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak; print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="of kills and outages")
    parser.add_argument("--workers", type=int, default=0, help="of Ray; 0 trains without Ray")
    parser.add_argument("--server", choices=SERVERS, default=SERVERS[0], help="of the store")
    parser.add_argument("--seed", type=int, default=17, help="of what happens when")
    parser.add_argument("--keep", type=Path, help="a directory to leave all files in")
    given = parser.parse_args(arguments)
    options = Options(
        minutes=given.minutes, workers=given.workers, server=given.server, seed=given.seed
    )
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        directory = given.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        lines = soak(directory, options)
    title = (
        f"{options.minutes:g} minutes, {options.server}, seed {options.seed}, "
        f"{options.workers} Ray workers"
    )
    Console(width=140).print(verdict.as_table(lines, title=title))
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
