"""Runs side by side in processes of their own, for the studies beside this file."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from raykd.config.load import load_run
from raykd.train.metrics import Record, read_metrics
from raykd.train.paths import RunPaths, run_paths

CONFIGS = Path(__file__).parents[1] / "configs" / "runs"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One run of a study."""

    label: str
    config: str
    """Name of a file in configs/runs."""

    overrides: tuple[str, ...]

    @property
    def paths(self) -> RunPaths:
        """Where the run is, or will be."""
        return run_paths(load_run(CONFIGS / self.config, self.overrides))

    @property
    def evaluations(self) -> list[Record]:
        """What the run measured, oldest first."""
        records = read_metrics(self.paths.metrics)
        return [record for record in records if "eval/loss" in record]


def train_all(trials: Sequence[Trial], *, processes: int) -> None:
    """Train every run that is not done, several at a time; a run that is done costs a second.

    Raises:
        RuntimeError: A run failed; the message has its output.
    """
    with ThreadPoolExecutor(processes) as pool:
        for trial, output in zip(trials, pool.map(_train, trials), strict=True):
            if output is not None:
                message = f"{trial.label}: failed:\n{output}"
                raise RuntimeError(message)
            print(f"{trial.label:<40} {trial.paths.run}", flush=True)


def _train(trial: Trial) -> str | None:
    """Return what a run printed if it failed."""
    command = [sys.executable, "-m", "raykd", "train", str(CONFIGS / trial.config)]
    command += [*trial.overrides, "cluster.num_workers=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own command
    if done.returncode == 0:
        return None
    return f"$ {shlex.join(command)}\n{done.stdout}{done.stderr}"
