"""One process of a sweep inside Ray Tune: a run, or several behind one teacher.

Runs of one worker train in a process of their own, at the place that Tune reserved. A run of
several starts Ray Train, which places its workers beside it. Either way a run finds its newest
checkpoint itself. Tune is told of evaluations, and of the ends of runs while others go on.

Tune never stops a trial: the driver asks its runs to stop, and it ends by itself, with
checkpoints.
"""

import functools
import json

from ray.tune import PlacementGroupFactory

from ray import tune
from raykd.config.load import checked_run
from raykd.runs.stop import StopReason
from raykd.train.on_ray.stop_request import stop_requested
from raykd.tune.arguments import END, RUN, SHARED_RUNS, SharedRun, cluster_of
from raykd.tune.child import Metrics, Watch, train_in_child

_DRIVER_BYTES = 100e6
"""What a trial of several workers reserves for itself: memory, and no CPU that a worker needs."""


class PreemptedError(Exception):
    """The machine of a trial is being taken away; the trial has stopped, with a checkpoint."""


def train_trial(arguments: dict[str, str]) -> None:
    """Train runs to their end; where another sweep is at one, wait for that.

    Args:
        arguments: See ``raykd.tune.arguments``.

    Raises:
        PreemptedError: The last of the runs has stopped because its machine is taken away.
        RaykdError: The last of the runs failed.
    """
    given = json.loads(arguments[SHARED_RUNS])
    shared_runs = [
        SharedRun(
            run=each["run"],
            config=checked_run(each["config"], origin=each["run"]),
            log_uri=each["log"],
        )
        for each in given
    ]
    keys = {each["run"]: each["stop_key"] for each in given}
    if shared_runs[0].config.cluster.num_workers > 1:
        # Imported here: it takes seconds that most trials need not wait.
        from raykd.tune.with_workers import train_with_workers  # noqa: PLC0415

        stop_reason = functools.partial(stop_requested, keys[shared_runs[0].run])
        last: StopReason | Exception = train_with_workers(
            shared_runs[0].config, stop_reason=stop_reason
        )
    else:
        last = _trained(shared_runs, keys)
    if (error := _error_of(last)) is not None:
        raise error


def resources(arguments: dict[str, str]) -> PlacementGroupFactory:
    """Return what Tune reserves for a trial; workers of Ray Train are placed beside it."""
    cluster = cluster_of(arguments)
    if cluster["num_workers"] > 1:
        # Tune refuses zero CPUs as an empty bundle; and with a CPU here that their workers need,
        # trials would wait for each other for ever.
        return PlacementGroupFactory([{"memory": _DRIVER_BYTES}])
    bundle = {"CPU": cluster["cpus_per_worker"]}
    if cluster["gpus_per_worker"]:
        bundle["GPU"] = cluster["gpus_per_worker"]
    return PlacementGroupFactory([bundle])


def _trained(shared_runs: list[SharedRun], stop_keys: dict[str, str]) -> StopReason | Exception:
    """Tell how runs ended but for the last one; that is returned, and ends the trial."""
    ends: list[StopReason | Exception] = []

    def report(run: str, metrics: Metrics) -> None:
        tune.report({RUN: run, **metrics})

    def ended(run: str, end: StopReason | Exception) -> None:
        ends.append(end)
        # A trial that has returned reports nothing more: its end stands for that of the last run.
        if len(ends) < len(shared_runs):
            tune.report({RUN: run, END: _error_of(end)})

    watch = Watch(
        report=report, ended=ended, stop_reason=lambda run: stop_requested(stop_keys[run])
    )
    train_in_child(shared_runs, watch)
    return ends[-1]


def _error_of(end: StopReason | Exception) -> Exception | None:
    """Return what the study is to take the end of a run for, if not for one as it should be."""
    if isinstance(end, Exception):
        return end
    if end is StopReason.PREEMPTED:
        return PreemptedError("its machine is being taken away; it has stopped")
    return None
