"""What a checkpoint costs the training: its stall in the background and in the foreground.

    python tests/bench/durability/checkpoint.py [--small] [--rounds N]

A model of 25 M parameters trains on one thread and writes its checkpoints in two ways in turn, on
the local disk and in a real S3 server whose every answer takes 50 ms or more:

    background  as raykd does: the state is copied, and training goes on while it is uploaded
    foreground  the same, but the loop waits until the checkpoint is committed

The steps beside an upload are compared with those of a quiet machine: hashing and sending take
a share of the cores, and here so do the server and the proxy in front of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import assemble
from raykd.distill.loop import FinishedStep, training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.runs.checkpointer import Checkpointer
from raykd.runs.paths import run_paths
from raykd.runs.snapshot import take_snapshot
from raykd.storage import uris
from rich.console import Console
from rich.table import Table

from tests.conftest import set_s3_environment
from tests.servers.faults import Slow
from tests.servers.proxy import Proxy
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY, Rclone
from tests.small_runs import TINY_BERT, small_data, small_run

BUCKET = "bench"
LARGE = TINY_BERT | {
    "num_layers": 8,
    "hidden_size": 512,
    "num_heads": 8,
    "intermediate_size": 2048,
}
SMALL = TINY_BERT | {"hidden_size": 128, "intermediate_size": 512}

_QUIET_STEPS = 3

_DELAY = Slow(seconds=0.1)
"""Half of it passes while a request is read, the other half while a body is sent back."""

Figures = dict[str, Any]


def main() -> int:
    """Compare on both places, or measure in one where a parent process asks for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds = 1 if options.small else options.rounds
    if options.output:
        config = training(options.directory, options.output, small=options.small)
        print(json.dumps(measured(config, rounds=rounds)))
        return 0
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as temporary:
        directory = Path(temporary)
        small_data(directory / "data")
        found = {"local disk": in_process(directory, str(directory / "runs"), options)}
        with slow_store(directory):
            found["S3, 50 ms"] = in_process(directory, f"s3://{BUCKET}/runs", options)
    Console(width=120).print(as_table(found))
    return 0


def training(directory: Path, output: str, *, small: bool) -> RunConfig:
    """Return a run whose checkpoints go there."""
    return small_run(
        directory,
        output_uri=output,
        student__architecture=dict(SMALL if small else LARGE),
        train__num_steps=1_000_000,
        train__micro_batch_size=8,
    )


def in_process(directory: Path, output: str, options: argparse.Namespace) -> Figures:
    """Measure in a fresh process with one thread, apart from the server and the proxy."""
    command = [sys.executable, __file__, "--directory", str(directory), "--output", output]
    command += ["--rounds", str(options.rounds), *(["--small"] if options.small else [])]
    done = subprocess.run(
        command,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@contextmanager
def slow_store(directory: Path) -> Iterator[None]:
    """Serve an empty bucket that processes started in the block reach slowly."""
    with (
        closing(Rclone(directory / "buckets", directory / "rclone.log")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.start()
        with closing(Proxy(server.port)) as proxy:
            proxy.start()
            set_s3_environment(patch, proxy.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
            boto3.Session().client("s3", endpoint_url=server.endpoint).create_bucket(Bucket=BUCKET)
            proxy.inject(_DELAY, times=None)
            yield


def measured(config: RunConfig, *, rounds: int) -> Figures:
    """Train, and write checkpoints in both ways in turn; return seconds of everything."""
    torch.set_num_threads(1)
    world = World()
    run = assemble(read_setup(config), world=world)
    tokenizer = uris.local_path(uris.join(config.data.uri, TOKENIZER_DIRECTORY))
    checkpointer = Checkpointer(config, run_paths(config), run, companions=tokenizer)
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=world
    )
    figures: Figures = {
        name: [] for name in ("background", "foreground", "copy", "committed", "quiet", "beside")
    }
    _take(steps, _QUIET_STEPS)
    checkpointer.write(before=_nothing)
    checkpointer.wait()
    for _ in range(rounds):
        figures["quiet"] += _take(steps, _QUIET_STEPS)
        figures["foreground"].append(_write(checkpointer, waits=True))
        _take(steps, 1)
        started = time.perf_counter()
        figures["background"].append(_write(checkpointer, waits=False))
        while checkpointer.is_busy:
            figures["beside"] += _take(steps, 1)
        checkpointer.wait()
        figures["committed"].append(time.perf_counter() - started)
        started = time.perf_counter()
        snapshot = take_snapshot(
            run.state,
            run_state=checkpointer._run_state(),
            world=world,
            copies=checkpointer._copies,
        )
        figures["copy"].append(time.perf_counter() - started)
        figures["bytes"] = snapshot.num_bytes
    return figures


def as_table(found: dict[str, Figures]) -> Table:
    """Return what each way costs in each place."""
    table = Table(title="a checkpoint of the training, one thread; medians")
    headings = ("", "stall", "of it the copy", "until committed", "steps beside it")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for place, figures in found.items():
        background, foreground, copy, committed, quiet, beside = (
            statistics.median(figures[name])
            for name in ("background", "foreground", "copy", "committed", "quiet", "beside")
        )
        table.add_row(f"{place}, {figures['bytes'] / 1e6:.0f} MB", "", "", "", "")
        table.add_row("  foreground", _ms(foreground), _ms(copy), _ms(foreground), "none")
        table.add_row(
            "  background",
            f"{_ms(background)}, {background / foreground:.1%}",
            _ms(copy),
            _ms(committed),
            f"{_ms(beside)}, quiet {_ms(quiet)}, {beside / quiet:.2f} x",
        )
    return table


def _take(steps: Iterator[FinishedStep], count: int) -> list[float]:
    """Take steps; return the seconds of each."""
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        next(steps)
        seconds.append(time.perf_counter() - started)
    return seconds


def _write(checkpointer: Checkpointer, *, waits: bool) -> float:
    """Return how long the loop stands still for a checkpoint."""
    started = time.perf_counter()
    checkpointer.write(before=_nothing)
    if waits:
        checkpointer.wait()
    return time.perf_counter() - started


def _nothing() -> None:
    """There are no metrics to bring to storage first."""


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


if __name__ == "__main__":
    sys.exit(main())
