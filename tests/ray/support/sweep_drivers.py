"""`raykd sweep` as a user starts it, in a process that tests may kill."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from raykd.storage.leases.records import read_lease
from raykd.sweep.ledger import Ledger, read_ledger
from raykd.sweep.record import State

from tests.ray.support.running import processes_called

_POLL_SECONDS = 0.05


Driver = subprocess.Popen[bytes]


@contextmanager
def started(
    sweep: Path, *arguments: str, environment: Mapping[str, str] = os.environ
) -> Iterator[Driver]:
    """Run a sweep in a process of its own, which does not outlive the block."""
    with log_of(sweep).open("ab") as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "raykd", "sweep", str(sweep), *arguments],
            stdout=log,
            stderr=log,
            env={**environment, "COLUMNS": "200"},
            # As a shell starts it: Ctrl-C goes to all of the group.
            process_group=0,
        )
    try:
        yield driver
    finally:
        driver.kill()
        driver.wait()


def log_of(sweep: Path) -> Path:
    """Return the file with what all drivers of a sweep printed."""
    return sweep.with_suffix(".log")


def finish(driver: Driver, sweep: Path) -> None:
    """Wait for a sweep to end well."""
    assert driver.wait() == 0, log_of(sweep).read_text()[-5_000:]


def press_ctrl_c(driver: Driver) -> None:
    """Interrupt as a terminal does: the driver, and all that it has started."""
    os.killpg(driver.pid, signal.SIGINT)


def wait_until(condition: Callable[[], bool], driver: Driver) -> None:
    """Wait for something that a running sweep does."""
    pause = threading.Event()
    while not condition():
        assert driver.poll() is None, f"the driver ended with {driver.returncode}; see its log"
        pause.wait(_POLL_SECONDS)


def steps_done(runs: Path) -> dict[str, int]:
    """Return how many training steps each run of a directory has reported, by its name."""
    files = runs.glob("*/metrics.jsonl")
    return {file.parent.name: file.read_text().count('"train/loss"') for file in files}


def num_steps_done(runs: Path) -> int:
    """Return the training steps that the runs of a directory have reported."""
    return sum(steps_done(runs).values())


def kill_trial(driver: Driver, sweep: Path, *, runs: str = "*") -> None:
    """Kill the process of a run; wait until the sweep has noted that, or the run was done.

    Args:
        driver: Of the sweep.
        sweep: Its file.
        runs: Pattern of the names of the runs that are meant.
    """
    killed: list[Path] = []

    def is_killed() -> bool:
        for run, process in _training(driver, sweep, runs):
            # It may end at any moment by itself.
            with suppress(psutil.NoSuchProcess):
                process.kill()
                killed.append(run)
                return True
        return False

    def is_noted() -> bool:
        ledger = ledger_of(sweep)
        done = [r.run_uri for r in ledger.records.values() if r.state is State.DONE]
        return num_errors(ledger) > before or str(killed[0]) in done

    before = num_errors(ledger_of(sweep))
    wait_until(is_killed, driver)
    wait_until(is_noted, driver)


def kill_driver(driver: Driver, sweep: Path) -> None:
    """Kill the driver; its Ray ends by itself, later."""
    driver.kill()
    driver.wait()


def kill_head(driver: Driver, sweep: Path) -> None:
    """Kill the head of Ray: the server that holds all of its state; then the driver gives up.

    Once a run trains: of a Ray that still starts the driver starts another.
    """
    wait_until(lambda: any(_training(driver, sweep, "*")), driver)
    processes_called("gcs_server", root=driver.pid)[0].kill()
    driver.wait()


def _training(driver: Driver, sweep: Path, runs: str) -> Iterator[tuple[Path, psutil.Process]]:
    """Yield the directories of runs that processes of a driver train, with these."""
    mine = {child.pid: child for child in psutil.Process(driver.pid).children(recursive=True)}
    for lease in (sweep.parent / "runs").glob(f"{runs}/lease.json*"):
        holder = read_lease(str(lease))
        if holder is not None and holder.process_id in mine:
            yield lease.parent, mine[holder.process_id]


def ledger_of(sweep: Path) -> Ledger:
    """Return the ledger of a sweep that is called study."""
    return read_ledger(str(sweep.parent / "sweeps" / "study"))


def num_errors(ledger: Ledger) -> int:
    """Return how many attempts have failed."""
    attempts = [attempt for record in ledger.records.values() for attempt in record.attempts]
    return sum(attempt.error_class is not None for attempt in attempts)
