"""Runs side by side in processes of their own, for the studies beside this file."""

import contextlib
import io
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from raykd.cli.main import main as raykd
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
    """Train every run that is not done, several at a time; one that is done costs nothing.

    Raises:
        RuntimeError: A run failed; the message has what it printed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        for trial, (status, output) in zip(trials, pool.map(_train, trials), strict=True):
            if status != 0:
                message = f"{trial.label}: failed:\n{output}"
                raise RuntimeError(message)
            print(f"{trial.label:<40} {trial.paths.run}", flush=True)


def _train(trial: Trial) -> tuple[int, str]:
    """Return a run's exit status and what it printed."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        status = raykd(
            ["train", str(CONFIGS / trial.config), *trial.overrides, "cluster.num_workers=0"]
        )
    return status, output.getvalue()
