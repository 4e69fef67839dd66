"""What limits 8, 64 and 512 workers or trials at a time: order, checkpoints, ledger, requests.

    python tests/bench/scaling.py [--small]

Nothing is trained at these sizes, and no Ray runs: the order of examples is computed for them,
their parts of a checkpoint and their records are written by the project's own code to a real S3
server, and requests are counted in front of it. Ends with the figures as one line of JSON.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.support.scaling_ledger import LedgerFigures, ledger_figures
from tests.bench.support.scaling_order import (
    ROWS_PER_WORKER,
    OrderCase,
    OrderFigures,
    order_figures,
)
from tests.bench.support.scaling_storage import (
    CheckpointFigures,
    RunRequests,
    checkpoint_figures,
    counted_store,
    run_requests,
)

_S3_WRITES = 3500
"""PUT, COPY, POST and DELETE a second for each prefix of a bucket, as AWS documents it."""

_S3_READS = 5500
"""GET and HEAD, likewise."""

_HEARTBEATS_PER_MINUTE = 6
_METRICS_PER_MINUTE = 12
"""Of each run in an object store: the file is written again every five seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is simulated."""

    orders: tuple[OrderCase, ...]
    num_steps: int
    """Of an epoch, that are looked at."""

    workers: tuple[int, ...]
    trials: tuple[int, ...]


def _case(num_workers: int, num_lanes: int, num_batches: int) -> OrderCase:
    return OrderCase(num_workers=num_workers, num_lanes=num_lanes, num_batches=num_batches)


WHOLE = Size(
    orders=(
        _case(8, 16, 8_200),
        _case(64, 64, 8_200),
        _case(48, 64, 8_200),
        _case(512, 512, 8_200),
        _case(512, 1024, 8_200),
        _case(512, 512, 100_000),
    ),
    num_steps=1000,
    workers=(8, 64, 512),
    trials=(8, 64, 512),
)
SMALL = Size(
    orders=(_case(2, 4, 40), _case(3, 4, 40)), num_steps=20, workers=(1, 2), trials=(2, 4)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """All that is measured."""

    orders: list[tuple[OrderCase, OrderFigures]]
    checkpoints: dict[int, CheckpointFigures]
    ledgers: dict[int, LedgerFigures]
    run: RunRequests


def main() -> None:
    """Simulate, and print tables and figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="4 workers instead of 512")
    size = SMALL if parser.parse_args().small else WHOLE
    figures = simulated(size)
    console = Console(width=120)
    for table in (
        order_table(figures),
        checkpoint_table(figures),
        ledger_table(figures),
        request_table(figures),
    ):
        console.print(table)
    print(json.dumps(asdict(figures)))


def simulated(size: Size) -> Figures:
    """Measure every part."""
    orders = [(case, order_figures(case, num_steps=size.num_steps)) for case in size.orders]
    with (
        tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory,
        counted_store(Path(directory)) as store,
    ):
        return Figures(
            orders=orders,
            run=run_requests(store, Path(directory)),
            checkpoints={n: checkpoint_figures(store, n) for n in size.workers},
            ledgers={n: ledger_figures(store, Path(directory), n) for n in size.trials},
        )


def order_table(figures: Figures) -> Table:
    """Return what the order costs and how even it is."""
    table = _table(
        f"order of examples, {ROWS_PER_WORKER} rows a worker and step; CPU time of each worker",
        *("workers", "lanes", "GiB of data", "an epoch, ms", "a step, ms"),
        *("fullest worker, x mean", "lost to it", "windows, MiB"),
    )
    for case, found in figures.orders:
        table.add_row(
            str(case.num_workers),
            str(case.num_lanes),
            f"{case.num_batches / 1024:.1f}",
            f"{found.epoch_seconds * 1e3:.1f}",
            f"{found.step_seconds * 1e3:.2f}",
            f"{found.fullest_ratio:.2f}",
            f"{found.lost_fraction:.1%}",
            f"{found.window_bytes / 2**20:.0f}",
        )
    return table


def checkpoint_table(figures: Figures) -> Table:
    """Return what a checkpoint of many workers asks of the store."""
    table = _table(
        "one checkpoint, a small file of each worker", *("workers", "reads", "writes", "s here")
    )
    for num_workers, found in figures.checkpoints.items():
        requests = found.requests
        table.add_row(
            f"{num_workers}",
            f"{requests.reads:.0f}",
            f"{requests.writes:.0f}",
            f"{found.seconds:.1f}",
        )
    return table


def ledger_table(figures: Figures) -> Table:
    """Return what the driver of a sweep does."""
    table = _table(
        "ledger: requests of one trial (reads + writes), and the driver",
        *("trials at a time", "start", "evaluation", "end", "bytes of a record"),
        *("CPU ms a trial", "flush of all, s here", "read again, s here"),
    )
    for num_trials, found in figures.ledgers.items():
        requests = (found.start, found.evaluation, found.end)
        table.add_row(
            f"{num_trials}",
            *(f"{r.reads:.0f} + {r.writes:.0f}" for r in requests),
            f"{found.record_bytes:,}",
            f"{found.driver_seconds * 1e3:.0f}",
            f"{found.flush_seconds:.2f}",
            f"{found.resume_seconds:.2f}",
        )
    return table


def request_table(figures: Figures) -> Table:
    """Return what trials ask for in a minute, with a checkpoint and an evaluation in it."""
    run = figures.run
    table = _table(
        "requests a minute: a checkpoint and an evaluation of each trial every minute",
        *("trials at a time", "reads", "writes", "reads, of S3's limit", "writes, of S3's limit"),
    )
    for num_trials, ledger in figures.ledgers.items():
        reads, writes = (
            num_trials
            * (
                getattr(run.checkpoint, kind)
                + getattr(ledger.evaluation, kind)
                + _HEARTBEATS_PER_MINUTE * getattr(run.heartbeat, kind)
                + (_METRICS_PER_MINUTE if kind == "writes" else 0)
            )
            for kind in ("reads", "writes")
        )
        table.add_row(
            f"{num_trials}",
            f"{reads:,.0f}",
            f"{writes:,.0f}",
            f"{reads / 60 / _S3_READS:.1%}",
            f"{writes / 60 / _S3_WRITES:.1%}",
        )
    of_one = (
        (run.start_and_end, "start and end"),
        (run.checkpoint, "a checkpoint"),
        (run.heartbeat, "a heartbeat"),
    )
    table.caption = "one run: " + ", ".join(
        f"{name} {requests.reads:.0f} + {requests.writes:.0f}" for requests, name in of_one
    )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


if __name__ == "__main__":
    main()
