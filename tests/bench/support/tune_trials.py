"""What a trial of Ray Tune costs: empty, with the imports of training, and as a run of raykd."""

import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from raykd.cli.quiet import quiet_libraries
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.sweep.plan.plan import plan_sweep, require_runnable
from raykd.sweep.record import State
from raykd.tune.run import SweepOptions, run_sweep
from rich.table import Table

from tests.sweep_files import sweep_in, write_runs


def compare_trials(directory: Path, *, num_trials: int, rounds: int) -> Table:
    """Time trials one after another in one session of Ray, the kinds of them in turn."""
    quiet_libraries()
    seconds: dict[str, list[float]] = {}
    with ray_cluster(LOCAL, num_cpus=2, num_gpus=0):
        # The first trial waits for Ray itself.
        bare_trials(nothing, 1)
        for index in range(rounds):
            kinds: dict[str, Callable[[], None]] = {
                "Ray Tune, empty": partial(bare_trials, nothing, num_trials),
                "Ray Tune, imports alone": partial(bare_trials, imports, num_trials),
                "raykd, a run of 1 step": partial(
                    raykd_trials, directory / f"round-{index}", num_trials
                ),
            }
            for kind, trials in kinds.items():
                started_at = time.monotonic()
                trials()
                taken = (time.monotonic() - started_at) / num_trials
                seconds.setdefault(kind, []).append(taken)
    return _table(seconds, num_trials)


def nothing(_arguments: dict[str, Any]) -> None:
    """Do nothing: what is left is Ray Tune."""


def imports(_arguments: dict[str, Any]) -> None:
    """Import what any training of these models needs."""
    import torch  # noqa: F401, PLC0415
    from transformers import BertForMaskedLM  # noqa: F401, PLC0415


def bare_trials(trial: Callable[[dict[str, Any]], None], num_trials: int) -> None:
    """Run trials of Ray Tune, set up as raykd sets it up."""
    from ray import tune  # noqa: PLC0415  its environment is set by ray_cluster

    with (
        tempfile.TemporaryDirectory(prefix="raykd-bench-") as scratch,
        # Tune tells of trials that have reported nothing.
        contextlib.redirect_stdout(io.StringIO()),
    ):
        tune.Tuner(
            tune.with_resources(trial, {"CPU": 1}),
            tune_config=tune.TuneConfig(
                num_samples=num_trials, max_concurrent_trials=1, reuse_actors=False
            ),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        ).fit()


def raykd_trials(directory: Path, num_trials: int) -> None:
    """Run a sweep of runs that differ by their seed: a step, an evaluation, the model saved."""
    directory.mkdir(parents=True)
    write_runs(
        directory,
        teachers={},
        losses={"cross_entropy": {}},
        train={"num_steps": 1, "global_batch_size": 4, "micro_batch_size": 4},
    )
    seeds = list(range(num_trials))
    plan = plan_sweep(sweep_in(directory, teachers={}, seeds=seeds, max_concurrent_trials=1))
    require_runnable(plan)
    ledger = run_sweep(plan, SweepOptions(address=LOCAL), on_step=lambda *_: None)
    states = {record.state for record in ledger.records.values()}
    if states != {State.DONE}:
        message = f"runs of one step ended as {states}"
        raise RuntimeError(message)


def _table(seconds: Mapping[str, list[float]], num_trials: int) -> Table:
    """Return the seconds of a trial of each kind, and what it has beyond the one before."""
    title = f"one trial after another: medians of {len(next(iter(seconds.values())))} round(s)"
    table = Table(title=f"{title} of {num_trials}")
    table.add_column("trial")
    for heading in ("seconds each", "range", "beyond the one above"):
        table.add_column(heading, justify="right")
    above: float | None = None
    for kind, taken in seconds.items():
        median = statistics.median(taken)
        beyond = "" if above is None else f"{median - above:+.2f}"
        table.add_row(kind, f"{median:.2f}", f"{min(taken):.2f} to {max(taken):.2f}", beyond)
        above = median
    return table
