"""What each worker of a run does: assemble, restore, iterate, and own the edges.

The same code runs in this process and in a Ray Train worker; they differ in the Context.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from raykd import strict_json
from raykd.cached_teachers.build import opened_caches
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.shared import SharedTeachers
from raykd.distill.start import StudentStart
from raykd.distill.world import World
from raykd.errors import DivergedError
from raykd.models.fingerprint import stated_origin
from raykd.models.load import model_files
from raykd.runs.checkpointer import Checkpointer, found_checkpoint
from raykd.runs.companions import companions_of
from raykd.runs.export import ExportedModel, export_model
from raykd.runs.metrics import (
    BEST_STEP,
    Log,
    Meter,
    MetricsLog,
    Record,
    SilentLog,
    forgetting,
    is_finished,
    newest_evaluation,
    scores_of,
)
from raykd.runs.paths import RunPaths
from raykd.runs.result import RunResult
from raykd.runs.snapshot import Copies, copied_files
from raykd.runs.stop import StopReason
from raykd.runs.trackers.open import open_trackers
from raykd.storage import uris
from raykd.storage.remote.retry_limit import RETRY_SECONDS
from raykd.train.device_use import device_use
from raykd.train.profile import profiled
from raykd.train.replay import explained


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where a worker runs: what an adapter provides."""

    world: World

    report: Callable[[Record], None]
    """Called by every worker alike, with the metrics of each evaluation."""

    stop_reason: Callable[[], StopReason]
    """Asked in every step; what one worker is told, all do after it: stop, with a checkpoint."""

    note: Callable[[str], None] = lambda _: None
    """Told at once what this worker is doing, for others who wait for it in vain."""

    shared: SharedTeachers | None = None
    """What runs of the same process have in common, if there are several."""

    pause: Callable[[], None] = lambda: None
    """Called before a step and before an evaluation: other runs of the same process take their
    turns. So what a teacher says in a step is asked by all before any asks something else."""


def train_worker(config: RunConfig, paths: RunPaths, context: Context) -> RunResult:
    """Train from the newest valid checkpoint to the last step; return how it ended.

    Whoever starts the workers has built the caches of teachers that they read.

    Raises:
        RaykdError: The run cannot go on; among others DivergedError, with what replays the step.
    """
    with ExitStack() as stack:
        stack.enter_context(uris.retry_for(RETRY_SECONDS))
        context.note("looking for the newest checkpoint")
        setup = read_setup(config)
        caches = stack.enter_context(opened_caches(setup, context.world))
        with found_checkpoint(paths, context.world) as checkpoint:
            context.note("assembling the run")
            run = assemble(
                setup,
                world=context.world,
                is_restored=checkpoint is not None,
                caches=caches,
                shared=context.shared,
            )
            companions = stack.enter_context(companions_of(run.student.model, config))
            checkpointer = Checkpointer(config, paths, run, companions=companions)
            if checkpoint is not None:
                checkpointer.restore(checkpoint)
            meter = Meter(device_use(run, caches))
        # At the step of the checkpoint: the log drops the lines of steps that are taken again.
        with _opened_log(config, paths, run) as log:
            if run.start is not None and context.world.rank == 0:
                _note_start(run.start, paths, log)
            try:
                reason = _train(
                    run, paths, context, log=log, checkpointer=checkpointer, meter=meter
                )
            except DivergedError as error:
                raise explained(error, run, paths) from error
            model_step = None
            if is_done := run.state.step >= run.num_steps:
                model_step = _finish(run, paths, context, log=log, checkpointer=checkpointer)
        result = RunResult(
            is_done=is_done,
            step=run.state.step,
            num_steps=run.num_steps,
            metrics=_last_scores(paths, context.world, model_step=model_step),
            model_uri=paths.model if is_done else None,
            stop_reason=StopReason.NONE if is_done else reason,
        )
        if model_step is not None:
            # All workers: of a sharded student each has a part of what the first one writes.
            is_first = context.world.rank == 0
            model = copied_files(model_files(run.student.model), Copies(), keeps=is_first)
            if is_first:
                exported = ExportedModel(
                    model=model,
                    config=config,
                    companions=companions,
                    metrics=result.metrics,
                    origin=stated_origin(paths.name, model_step, keep=config.train.keep),
                )
                export_model(exported, paths.model, overwrites=True)
                # Last: a run that says it is done has its model. Killed before, it exports again.
                uris.write_bytes(paths.result, strict_json.file_content(result))
    return result


def stopped_result(config: RunConfig, *, step: int) -> RunResult:
    """Return how a run stands that is to stop while nobody trains it; 0 is before any step."""
    return RunResult(
        is_done=False,
        step=step,
        num_steps=read_setup(config).num_steps,
        metrics={},
        model_uri=None,
        stop_reason=StopReason.STOPPED,
    )


@contextmanager
def _opened_log(config: RunConfig, paths: RunPaths, run: Distillation) -> Iterator[Log]:
    """Yield the log of the first worker; the others have nothing to say."""
    if run.world.rank != 0:
        yield SilentLog()
        return
    trackers = open_trackers(config, paths, step=run.state.step)
    log = MetricsLog(paths.metrics, step=run.state.step, trackers=trackers)
    try:
        yield log
    finally:
        log.close(is_done=run.state.step >= run.num_steps)


def _note_start(start: StudentStart, paths: RunPaths, log: Log) -> None:
    """Keep where the student's tensors come from, and how far it is from its source."""
    uris.write_bytes(paths.init, strict_json.file_content(start))
    if start.logit_difference is not None:
        log.append({"step": 0, "tokens": 0, "init/logit_difference": start.logit_difference})


def _train(
    run: Distillation,
    paths: RunPaths,
    context: Context,
    *,
    log: Log,
    checkpointer: Checkpointer,
    meter: Meter,
) -> StopReason:
    """Take the steps that remain; return why no more were taken."""
    try:
        reason = _stepped(run, paths, context, log=log, checkpointer=checkpointer, meter=meter)
        checkpointer.wait()
    except DivergedError:
        if run.state.step > 0:
            # The weights are those before the step: a replay begins right there.
            checkpointer.write(before=log.flush)
            checkpointer.wait()
        raise
    except Exception:
        checkpointer.drain()
        raise
    return reason


def _stepped(
    run: Distillation,
    paths: RunPaths,
    context: Context,
    *,
    log: Log,
    checkpointer: Checkpointer,
    meter: Meter,
) -> StopReason:
    """Log, evaluate and checkpoint when each is due."""
    run.require_scored()
    if run.evaluates_first:
        _evaluated(run, context, log=log, checkpointer=checkpointer)
    context.pause()
    steps = run.steps()
    context.note(f"step {run.state.step + 1}")
    flags = functools.partial(_flags, context, checkpointer)
    taken = training_steps(
        run.state,
        run.objective,
        steps,
        options=run.loop_options,
        world=run.world,
        flags=flags,
    )
    meter.resume()
    for finished in profiled(taken, run, uri=paths.profile):
        meter.add(finished)
        if run.logs_after(finished.step):
            log.append(meter.record(run.state.tokens))
        if run.evaluates_after(finished.step):
            context.pause()
            metrics = _evaluated(run, context, log=log, checkpointer=checkpointer)
            checkpointer.note_evaluation(finished.step, loss=run.deciding_loss(metrics))
            if run.mixes_adaptively:
                # What was read ahead was drawn by the mixture of before.
                steps.restart()
        checkpointer.raise_failure()
        # All workers have to take the same branch below, or the next collective waits for ever:
        # several have agreed within the step. Of several reasons the highest counts.
        reason, is_busy = finished.flags or flags()
        if checkpointer.is_due(finished.step, is_busy=bool(is_busy)) or reason:
            context.note(f"the checkpoint of step {finished.step}")
            # Metrics first: a resumed run does not repeat the steps before its checkpoint.
            checkpointer.write(before=log.flush)
        if reason:
            return StopReason(reason)
        context.note(f"step {finished.step + 1}")
        context.pause()
        meter.resume()
    return StopReason.NONE


def _flags(context: Context, checkpointer: Checkpointer) -> tuple[StopReason, bool]:
    return context.stop_reason(), checkpointer.is_busy


def _finish(
    run: Distillation,
    paths: RunPaths,
    context: Context,
    *,
    log: Log,
    checkpointer: Checkpointer,
) -> int:
    """Choose the weights of the run's model, and score it on the test split; return their step.

    Nothing is reported: no other run is to follow from what the test split says.
    """
    keeps_best, split = run.config.train.keep == "best", run.config.data.test_split
    if not keeps_best and split is None:
        return run.state.step
    context.note("the weights that are kept")
    step = checkpointer.load_best() if keeps_best else run.state.step
    # One that was killed after this place has noted it; all do what the first worker finds.
    if run.world.broadcast(run.world.rank == 0 and is_finished(paths.metrics)):
        return step
    metrics: Record = {"step": run.state.step, "tokens": run.state.tokens}
    if keeps_best:
        metrics[BEST_STEP] = step
    if split is not None:
        context.note(f"the evaluation on {split}")
        context.pause()
        metrics |= run.named(run.evaluate(split), "test")
    log.append(metrics)
    return step


def _last_scores(paths: RunPaths, world: World, *, model_step: int | None) -> Record:
    """Return all scores of a run's model, or its newest evaluation while it has none."""
    if world.rank != 0:
        return world.broadcast({})
    # From the file, which the first worker has closed: one that was killed may have made them.
    if model_step is None:
        return world.broadcast(newest_evaluation(paths.metrics))
    return world.broadcast(scores_of(paths.metrics, model_step))


def _evaluated(
    run: Distillation, context: Context, *, log: Log, checkpointer: Checkpointer
) -> Record:
    """Evaluate, adapt the mixture where that follows the gaps, and report."""
    context.note(f"the evaluation after step {run.state.step}")
    evaluation = run.evaluate()
    metrics = {"step": run.state.step, "tokens": run.state.tokens, **run.named(evaluation)}
    if run.state.step == 0:
        checkpointer.first_evaluation = metrics
    elif run.config.student.pretrained is not None and checkpointer.first_evaluation is not None:
        metrics |= forgetting(checkpointer.first_evaluation, metrics)
    if run.mixes_adaptively:
        shares = run.adapt(evaluation)
        metrics |= {f"data/share/{language}": share for language, share in shares.items()}
    log.append(metrics)
    context.report(metrics)
    return metrics
