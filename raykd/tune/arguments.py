"""What a trial of Tune is given and what it reports, by name.

It is given plain texts: the id of its first run, after which it is called, and a JSON list with,
for each of its runs, ``run``, its id; ``config``, the run: Tune reads nothing into a text;
``log``, the file that gets what it prints; ``stop_key``, where it is asked to stop.

It reports evaluations, and the end of a run while others go on: the error if it is one. The end of
the last run is that of the trial.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raykd.config.schema.run import RunConfig

RUN = "run"
"""Given: the first run. Reported: the run that it is about."""

SHARED_RUNS = "shared_runs"
"""Given: the JSON list of the runs."""

END = "end"
"""Reported: the error that a run ended with, or None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedRun:
    """One of the runs that train in one process."""

    run: str
    """Its id."""

    config: RunConfig
    """The run, of one worker."""

    log_uri: str
    """File that gets what the run prints and logs."""


def runs_of(arguments: Mapping[str, str]) -> list[str]:
    """Return the ids of a trial's runs."""
    return [shared_run["run"] for shared_run in json.loads(arguments[SHARED_RUNS])]


def cluster_of(arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return the section ``cluster`` of a trial's runs, which have the same."""
    cluster: dict[str, Any] = json.loads(arguments[SHARED_RUNS])[0]["config"]["cluster"]
    return cluster
