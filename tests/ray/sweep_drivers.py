"""`raykd sweep` as a user starts it, in a process that tests may kill."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from raykd.errors import ConfigError
from raykd.sweep.ledger import Ledger, read_ledger

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


def num_steps_done(runs: Path) -> int:
    """Return the training steps that the runs of a directory have reported."""
    texts = (path.read_text() for path in runs.glob("*/metrics.jsonl"))
    return sum(text.count('"train/loss"') for text in texts)


def running_processes(runs: Path) -> list[int]:
    """Return the processes that hold the lease of a run right now and live."""
    pids = []
    for path in runs.glob("*/lease.json*"):
        try:
            pid = json.loads(path.read_text())["process_id"]
        except (FileNotFoundError, json.JSONDecodeError):
            continue
        if psutil.pid_exists(pid):
            pids.append(pid)
    return pids


def kill_trial(driver: Driver, runs: Path) -> None:
    """Kill the process of a trial."""
    wait_until(lambda: bool(running_processes(runs)), driver)
    os.kill(running_processes(runs)[0], signal.SIGKILL)


def kill_driver(driver: Driver, runs: Path) -> None:
    """Kill the driver; its Ray ends by itself, later."""
    driver.kill()
    driver.wait()


def kill_head(driver: Driver, runs: Path) -> None:
    """Kill the head of Ray: the server that holds all of its state; then the driver gives up."""
    wait_until(lambda: bool(_heads(driver)), driver)
    _heads(driver)[0].kill()
    driver.wait()


def _heads(driver: Driver) -> list[psutil.Process]:
    return [p for p in psutil.Process(driver.pid).children() if p.name() == "gcs_server"]


def ledger_of(directory: Path, name: str) -> Ledger | None:
    """Return the ledger of a sweep, or None before its first start."""
    try:
        return read_ledger(str(directory / "sweeps" / name))
    except ConfigError:
        return None


def table(ledger: Ledger) -> dict[str, tuple[str, Sequence[dict[str, float]]]]:
    """Return what a sweep found: every run with its state and its evaluations."""
    return {
        run_id: (record.state.value, record.evaluations)
        for run_id, record in ledger.records.items()
    }
