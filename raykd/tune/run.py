"""A sweep from the driver's side: one session of Ray Tune over its runs."""

import functools
import math
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from raykd.config.load import plain
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.ray_cluster.pending import Wait
from raykd.storage import uris
from raykd.storage.leases.lease import held_lease
from raykd.storage.published.ownership import require_own
from raykd.storage.remote.probe import check_storage
from raykd.storage.remote.retry_limit import RETRY_SECONDS
from raykd.sweep.ledger import Asked, Ledger, SweepPaths, read_ledger, read_records, write_index
from raykd.sweep.plan.decided import is_waiting
from raykd.sweep.plan.plan import SweepPlan, known_ledger, plan_sweep
from raykd.sweep.questions.asked import asked_now
from raykd.sweep.record import Record
from raykd.sweep.study.resume import resumed, selected
from raykd.sweep.study.study import Limits, Study

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)
"""Every node has its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepOptions:
    """What is asked of one start of a sweep."""

    address: str
    """``local``, or the address of a Ray cluster."""

    retries_failed: bool = False
    only: Collection[str] = ()
    """Coordinates of the trials to run, such as ``teacher=small``; all where empty."""

    command: str = ""
    """What goes on with the sweep, for whoever reads the ledger; empty where no command does."""


def run_sweep(
    plan: SweepPlan,
    options: SweepOptions,
    *,
    on_step: Callable[[Study, Wait | None], None],
    on_plan: Callable[[SweepPlan], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Ledger:
    """Bring a sweep to its end, from wherever an earlier start left it.

    Args:
        plan: Of the sweep.
        options: Of this start.
        on_step: Called several times a second while trials run, with why some wait, if they do.
        on_plan: Called with the plan where results have decided on further runs, or that there are
            none.
        should_stop: Asked as often. The trials then stop, each with a checkpoint, and wait for
            the next start.

    Raises:
        RaykdError: The sweep is being run by another driver, or the options are wrong.
    """
    paths = SweepPaths(sweep=plan.uri)
    # Trials hold leases of their own, so those of a dead driver need not be waited for here.
    check_storage(paths.sweep)
    require_own(paths.sweep, marks=paths.marks, what="sweep")
    with (
        held_lease(paths.lease, has_workers=False) as lease,
        uris.retry_for(RETRY_SECONDS),
    ):
        study = study_of(plan, options, on_plan)

        def step(wait: Wait | None = None) -> None:
            if should_stop() or lease.is_lost:
                study.leave()
            on_step(study, wait)

        step()
        if not study.is_over:
            _run_trials(study, plan, options, step)
    return read_ledger(paths.sweep)


def study_of(
    plan: SweepPlan, options: SweepOptions, on_plan: Callable[[SweepPlan], None]
) -> Study:
    """Return the study of a plan with what the ledger knows, and write both to the ledger.

    Results decide on further runs as a new plan says, which is written, and given to ``on_plan``.
    """
    sweep, paths = plan.sweep, SweepPaths(sweep=plan.uri)
    before = known_ledger(sweep)
    known = {} if before is None else before.records
    records = resumed(plan.records, known, retries_failed=options.retries_failed)
    only = functools.partial(selected, only=options.only) if options.only else None
    if only is not None:
        # What nothing is at is refused before anything is written.
        only(records)
    asked = asked_now(plain(sweep), {r.id: r for r in records}, before=before, now=time.time())
    _write_index(paths, plan, options, asked)

    is_open = plan.is_open

    def more(so_far: Mapping[str, Record]) -> Sequence[Record]:
        nonlocal is_open
        # A plan takes time, and nothing is decided before the last of the runs to decide by.
        if not is_open or is_waiting(sweep, so_far):
            return ()
        # One study is of one content: where an input has changed meanwhile, new runs fail.
        further = plan_sweep(sweep, machines=plan.machines, known=so_far, find=plan.find)
        is_open = further.is_open
        new = [record for record in further.records if record.id not in so_far]
        if new or not is_open:
            _write_index(paths, further, options, asked)
            on_plan(further)
        # A run that is decided on again may have been stopped, or have failed, earlier.
        found = read_records(paths, [record.id for record in new])
        return resumed(new, found, retries_failed=options.retries_failed)

    minutes = sweep.time_budget_minutes
    return Study(
        sweep,
        paths,
        records,
        limits=Limits(
            at_once=plan.at_once + _num_queued(plan, options),
            deadline=math.inf if minutes is None else time.monotonic() + 60 * minutes,
            only=only,
            rungs=plan.rungs,
        ),
        more=more if is_open else None,
    )


def _num_queued(plan: SweepPlan, options: SweepOptions) -> int:
    """Return how many runs Tune is given before they can be placed.

    It keeps the process of a trial that ends for one that waits, and only then: with as many in
    its queue as run, none waits for a process to start. That is safe where Tune itself keeps the
    number of trials down, as each reserves the CPUs or GPUs that it uses; a cluster may have, or
    start, more of them than the sweep declares.
    """
    is_as_planned = options.address == LOCAL or not plan.sweep.nodes
    is_bounded = is_as_planned and _are_alone(plan) and plan.at_once_by in ("CPUs", "GPUs")
    return plan.at_once if is_bounded else 0


def _are_alone(plan: SweepPlan) -> bool:
    """Tell whether every run has one worker."""
    return all(run.need.num_workers <= 1 for run in plan.runs)


def _write_index(
    paths: SweepPaths, plan: SweepPlan, options: SweepOptions, asked: Sequence[Asked]
) -> None:
    write_index(
        paths,
        sweep=plain(plan.sweep),
        run_ids=[record.id for record in plan.records],
        command=options.command,
        asked=asked,
        is_open=plan.is_open,
    )


def _run_trials(
    study: Study, plan: SweepPlan, options: SweepOptions, on_step: Callable[[Wait | None], None]
) -> None:
    with (
        ray_cluster(options.address, num_cpus=plan.cpus, num_gpus=plan.gpus),
        tempfile.TemporaryDirectory(prefix="raykd-tune-") as scratch,
    ):
        # Imported here: Ray's environment is set above.
        from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE  # noqa: PLC0415

        from ray import tune  # noqa: PLC0415
        from raykd.ray_cluster.pending_watch import PlaceWatch  # noqa: PLC0415
        from raykd.train.on_ray.stop_request import StopRequests  # noqa: PLC0415
        from raykd.tune.adapters import StudyCallback, StudyScheduler, StudySearcher  # noqa: PLC0415
        from raykd.tune.arguments import RUN  # noqa: PLC0415
        from raykd.tune.trial import resources, train_trial  # noqa: PLC0415

        # Ray logs what Tune hands on where every user of the machine can read it.
        ENV_VARS_TO_PROPAGATE.difference_update(_CREDENTIALS)
        requests = StopRequests()
        watch = PlaceWatch()

        def step() -> None:
            # Those with workers hold other places, too.
            on_step(watch.look(most=plan.at_once if _are_alone(plan) else None))

        tuner = tune.Tuner(
            tune.with_resources(train_trial, resources),
            tune_config=tune.TuneConfig(
                # Without end: the searcher says when there are no more.
                num_samples=-1,
                search_alg=StudySearcher(study, requests),
                scheduler=StudyScheduler(study, requests),
                # Runs of one worker have processes of their own: what Tune keeps between them is
                # empty. One with workers of Ray Train ends only with the process that has them.
                reuse_actors=_are_alone(plan),
                trial_name_creator=lambda trial: str(trial.config[RUN]),
                trial_dirname_creator=lambda trial: f"{trial.config[RUN]}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                # Thrown away: Tune's record of the sweep is second to the ledger.
                storage_path=scratch,
                verbose=0,
                callbacks=[StudyCallback(study, requests, on_step=step)],
                # Retries are the study's: Tune would repeat a trial that the ledger has as failed.
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        try:
            # On SIGINT it returns as if all were done: the study knows what was not.
            tuner.fit()
        finally:
            study.interrupted()
            on_step(None)
        requests.withdraw()
