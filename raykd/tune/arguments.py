"""What a trial of Tune is given: the runs of one process, as plain texts.

run      id of the first run, after which the trial is called
members  JSON list with, for each run, ``run``, its id; ``config``, the run: Tune reads nothing
into a text; ``log``, the file that gets what it prints; ``wish``, where the driver
asks it to leave
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raykd.sweep.ledger import Record
from raykd.train.paths import RunPaths

RUN = "run"
MEMBERS = "members"


def trial_arguments(records: Sequence[Record], *, wish: Callable[[str], str]) -> dict[str, str]:
    """Return what a trial is given.

    Args:
        records: Of its runs.
        wish: From the id of a run to where it is asked to leave.
    """
    members = [
        {
            "run": record.id,
            "config": record.config,
            "log": RunPaths(record.run_uri).log,
            "wish": wish(record.id),
        }
        for record in records
    ]
    return {RUN: records[0].id, MEMBERS: json.dumps(members)}


def runs_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return the ids of a trial's runs."""
    return [member["run"] for member in json.loads(arguments[MEMBERS])]


def cluster_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section ``cluster`` of a trial's runs, which have the same."""
    found: dict[str, Any] = json.loads(arguments[MEMBERS])[0]["config"]["cluster"]
    return found
