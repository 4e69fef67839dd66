"""Who pays for the teachers' forward passes of a sweep, and why it is so."""

import math
from collections import Counter
from collections.abc import Iterator

from raykd.sweep.grid.control import is_control
from raykd.sweep.grid.shared_processes import runs_teachers, scores_vocabulary
from raykd.sweep.plan.plan import SweepPlan


def teacher_payments(plan: SweepPlan) -> Iterator[str]:
    """Yield in words how many trials pay in which way; nothing where none has a teacher."""
    caches = [
        [teacher.cache for teacher in run.config.teachers.values()]
        for run in plan.trials
        if not is_control(run.config) and not runs_teachers(run.config)
    ]
    if cached := sum(any(of_run) for of_run in caches):
        yield f"by a cache: {cached:,} trial(s), whose teachers have one{_of_vocabulary(plan)}"
    if free := len(caches) - cached:
        yield f"by nobody: {free:,} trial(s), whose teacher is a unigram"
    live = [
        process for process in plan.processes if any(runs_teachers(run.config) for run in process)
    ]
    shared = [process for process in live if len(process) > 1]
    most = plan.sweep.trials_per_process
    if shared:
        yield (
            f"by processes of up to {max(map(len, shared))}: "
            f"{sum(map(len, shared)):,} trial(s) in {len(shared):,} process(es), "
            f"as trials_per_process is {most}"
        )
    single = [process[0] for process in live if len(process) == 1]
    alone = sum(run.record.sharing_key is None for run in single)
    if most == 1 and single:
        yield (
            f"by each of {len(single):,} trial(s), as there is no cache "
            "and trials_per_process is 1"
        )
        return
    if alone:
        yield (
            f"by each of {alone:,} trial(s) that are compiled, have several workers or mix "
            "adaptively, and so share no process"
        )
    if number := len(single) - alone:
        yield f"by each of {number:,} trial(s), as no other reads the same batches beside it"


def _of_vocabulary(plan: SweepPlan) -> str:
    """Say how often its scores of a vocabulary are made, and how fewer times would do."""
    scoring = [
        [run for run in process if scores_vocabulary(run.config)] for process in plan.processes
    ]
    if sharing := [runs for runs in scoring if len(runs) > 1]:
        number = sum(map(len, sharing))
        return f"; {number:,} make its scores once for each of {len(sharing):,} process(es)"
    alike = Counter(run.record.sharing_key for runs in scoring for run in runs)
    del alike[None]
    # More in a process would leave machines idle.
    most = math.ceil(max(alike.values(), default=0) / max(plan.at_once, 1))
    if most <= 1:
        return ""
    return f"; trials_per_process={most} would have each process make its scores once"
