"""One run of a sweep inside Ray Tune.

A run of one worker trains in a process of its own, at the place that Tune reserved. A run of
several starts Ray Train, which places its workers beside it. Either way the run finds its newest
checkpoint itself, and Tune hears of evaluations only.

Tune never stops a trial: the driver asks it to leave, and it ends by itself, with a checkpoint.
"""

import functools
import json
from typing import Any

from ray import tune
from raykd.config.load import checked_run
from raykd.train.leave import Leave
from raykd.tune.child import train_in_child
from raykd.tune.leaving import PreemptedError, asked_to_leave


def train_trial(arguments: dict[str, Any]) -> None:
    """Train a run to its end; where another sweep is at it, wait for that.

    Args:
        arguments: ``run``, the id; ``config``, the run as JSON: Tune reads nothing into it;
            ``log``, the file that gets what the run prints; ``wish``, where the driver asks it
            to leave.

    Raises:
        PreemptedError: It has left because its machine is taken away.
        RaykdError: The run failed.
    """
    config = checked_run(json.loads(arguments["config"]), origin=arguments["run"])
    asked = functools.partial(asked_to_leave, arguments["wish"])
    if config.cluster.num_workers > 1:
        # Imported here: it takes seconds that most trials need not wait.
        from raykd.tune.with_workers import train_with_workers  # noqa: PLC0415

        leave = train_with_workers(config, asked=asked)
    else:
        leave = train_in_child(
            config,
            log_uri=arguments["log"],
            report=lambda metrics: tune.report(dict(metrics)),
            asked=asked,
        )
    if leave is Leave.PREEMPTED:
        message = "its machine is being taken away; it has left"
        raise PreemptedError(message)
