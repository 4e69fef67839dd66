"""A sweep that an autoscaler brings nodes up for, one of which dies under it."""

from dataclasses import dataclass
from pathlib import Path

import psutil
from raykd.storage.leases.records import read_lease
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import State

from tests.ray.support import sweep_drivers as drivers
from tests.ray.support.autoscaling import AutoscaledRay, Moment
from tests.sweep_files import WEIGHT, write_runs, write_sweep

STEPS_OF_A_RUN = 400
NUM_TRIALS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What happened."""

    moments: list[Moment]
    killed_after: int
    """Moments that had been when the node was killed."""

    killed: str
    """The node."""

    ledger: Ledger
    printed: str
    """What the driver said."""

    waits: list[str]
    """The lines of it that say why trials wait."""


def swept_with_a_lost_node(directory: Path, cluster: AutoscaledRay, *, num_nodes: int) -> Story:
    """Run a sweep from before the first node to the end of the last; kill one under a run."""
    sweep, runs = _sweep(directory), directory / "runs"
    arguments = ("--address", cluster.address)
    begun: list[int] = []

    def is_in_full_swing() -> bool:
        begun[:] = _just_begun(runs)
        has_all = len(cluster.moments()[-1].nodes) == num_nodes
        return has_all and bool(begun) and has_one_done()

    def has_one_done() -> bool:
        return any(r.state is State.DONE for r in drivers.ledger_of(sweep).records.values())

    with drivers.started(sweep, *arguments, environment=cluster.environment) as driver:
        drivers.wait_until(lambda: bool(_waits(sweep)), driver)
        cluster.let_nodes_come()
        drivers.wait_until(is_in_full_swing, driver)
        killed_after = len(cluster.moments())
        killed = cluster.kill_node(begun[0])
        drivers.finish(driver, sweep)
    cluster.wait_until_empty()
    return Story(
        moments=cluster.moments(),
        killed_after=killed_after,
        killed=killed,
        ledger=drivers.ledger_of(sweep),
        printed=drivers.log_of(sweep).read_text(),
        waits=_waits(sweep),
    )


def _sweep(directory: Path) -> Path:
    """Write a sweep of one teacher and some trials of a few seconds."""
    steps = {"num_steps": STEPS_OF_A_RUN, "eval_every_steps": 100, "log_every_steps": 1}
    return write_sweep(
        write_runs(directory),
        {
            "overrides": {f"train.{name}": value for name, value in steps.items()}
            | {"checkpoint.every_steps": 100},
            "search": {WEIGHT: {"grid": [0, 1]}},
            "seeds": list(range(NUM_TRIALS // 2)),
        },
    )


def _waits(sweep: Path) -> list[str]:
    lines = drivers.log_of(sweep).read_text().splitlines()
    return [line for line in lines if line.startswith("waiting ")]


def _just_begun(runs: Path) -> list[int]:
    """Return the processes of runs that have most of their steps before them."""
    found = []
    for run in runs.glob("*"):
        metrics, lease = run / "metrics.jsonl", read_lease(str(run / "lease.json"))
        steps = metrics.read_text().count('"train/loss"') if metrics.exists() else 0
        if lease is not None and 0 < steps < STEPS_OF_A_RUN // 2:
            found.append(lease.process_id)
    return [process_id for process_id in found if psutil.pid_exists(process_id)]
