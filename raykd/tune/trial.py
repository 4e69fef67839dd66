"""One process of a sweep inside Ray Tune: a run, or a pack of runs behind one teacher.

Runs of one worker train in a process of their own, at the place that Tune reserved. A run of
several starts Ray Train, which places its workers beside it. Either way a run finds its newest
checkpoint itself. Tune hears of evaluations, and of the ends of runs while others go on.

Tune never stops a trial: the driver asks its runs to leave, and it ends by itself, with
checkpoints.
"""

import functools
import json
from typing import Any

from ray import tune
from raykd.config.load import checked_run
from raykd.runs.stop import Leave
from raykd.tune.arguments import END, MEMBERS, RUN
from raykd.tune.child import Metrics, Watch, train_in_child
from raykd.tune.leaving import PreemptedError, asked_to_leave
from raykd.tune.member import Member


def train_trial(arguments: dict[str, Any]) -> None:
    """Train runs to their end; where another sweep is at one, wait for that.

    Args:
        arguments: See ``raykd.tune.arguments``.

    Raises:
        PreemptedError: The last of the runs has left because its machine is taken away.
        RaykdError: The last of the runs failed.
    """
    given = json.loads(arguments[MEMBERS])
    members = [
        Member(
            run=each["run"],
            config=checked_run(each["config"], origin=each["run"]),
            log_uri=each["log"],
        )
        for each in given
    ]
    wishes = {each["run"]: each["wish"] for each in given}
    if members[0].config.cluster.num_workers > 1:
        # Imported here: it takes seconds that most trials need not wait.
        from raykd.tune.with_workers import train_with_workers  # noqa: PLC0415

        asked = functools.partial(asked_to_leave, wishes[members[0].run])
        last: Leave | Exception = train_with_workers(members[0].config, asked=asked)
    else:
        last = _trained(members, wishes)
    if (error := _error_of(last)) is not None:
        raise error


def _trained(members: list[Member], wishes: dict[str, str]) -> Leave | Exception:
    """Tell how runs ended but for the last one; that is returned, and ends the trial."""
    ends: list[Leave | Exception] = []

    def report(run: str, metrics: Metrics) -> None:
        tune.report({RUN: run, **metrics})

    def ended(run: str, end: Leave | Exception) -> None:
        ends.append(end)
        if len(ends) < len(members):
            tune.report({RUN: run, END: _error_of(end)})

    watch = Watch(report=report, ended=ended, asked=lambda run: asked_to_leave(wishes[run]))
    train_in_child(members, watch)
    return ends[-1]


def _error_of(end: Leave | Exception) -> Exception | None:
    """Return what the study is to take the end of a run for, if not for one as it should be."""
    if isinstance(end, Exception):
        return end
    if end is Leave.PREEMPTED:
        return PreemptedError("its machine is being taken away; it has left")
    return None
