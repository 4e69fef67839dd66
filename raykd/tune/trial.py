"""One run of a sweep inside Ray Tune.

A run of one worker trains in a process of its own, at the place that Tune reserved. A run of
several starts Ray Train, which places its workers beside it. Either way the run finds its newest
checkpoint itself, and Tune hears of evaluations only.
"""

import json
from typing import Any

from ray import tune
from raykd.config.load import checked_run
from raykd.tune.child import train_in_child


def train_trial(arguments: dict[str, Any]) -> None:
    """Train a run to its end; where another sweep is at it, wait for that.

    Args:
        arguments: ``run``, the id; ``config``, the run as JSON: Tune reads nothing into it;
            ``log``, the file that gets what the run prints.
    """
    config = checked_run(json.loads(arguments["config"]), origin=arguments["run"])
    if config.cluster.num_workers > 1:
        # Imported here: it takes seconds that most trials need not wait.
        from raykd.tune.with_workers import train_with_workers  # noqa: PLC0415

        train_with_workers(config)
    else:
        train_in_child(
            config, log_uri=arguments["log"], report=lambda metrics: tune.report(dict(metrics))
        )
