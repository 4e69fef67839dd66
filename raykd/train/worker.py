"""What each worker of a run does: assemble, restore, iterate, and own the edges.

The same code runs in this process and in a Ray Train worker; they differ in the Context.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import Distillation, assemble
from raykd.distill.loop import training_steps
from raykd.distill.world import World
from raykd.train.checkpoint import BestEvaluation
from raykd.train.export import export_model
from raykd.train.keeper import CheckpointKeeper
from raykd.train.metrics import Meter, MetricsLog, Record
from raykd.train.paths import RunPaths


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where a worker runs: what an adapter provides."""

    world: World

    report: Callable[[Record], None]
    """Called by every worker alike, with the metrics of each evaluation."""

    should_stop: Callable[[], bool]
    """Whether to leave after this step, with a checkpoint; every worker gets one answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a run ended."""

    is_done: bool
    """False when it was asked to stop before its last step."""

    step: int
    num_steps: int
    metrics: Record
    """The newest evaluation."""

    model_uri: str | None
    """The exported model of a run that is done."""


def train_worker(config: RunConfig, paths: RunPaths, context: Context) -> RunResult:
    """Train from the newest valid checkpoint to the last step; return how it ended."""
    run = assemble(config, world=context.world)
    with storage.local_copy(storage.join(config.data.uri, TOKENIZER_DIRECTORY)) as tokenizer_path:
        keeper = CheckpointKeeper(config, paths, run, tokenizer_path=tokenizer_path)
        best = keeper.restore()
        log = _open_log(config, paths, run)
        try:
            metrics = _train(run, context, log=log, keeper=keeper, best=best)
            is_done = run.state.step >= run.num_steps
            if is_done and context.world.rank == 0:
                export_model(
                    run.student,
                    paths.model,
                    config=config,
                    tokenizer_path=tokenizer_path,
                    metrics=metrics,
                )
        finally:
            if log is not None:
                log.close()
    result = RunResult(
        is_done=is_done,
        step=run.state.step,
        num_steps=run.num_steps,
        metrics=metrics,
        model_uri=paths.model if is_done else None,
    )
    if is_done and context.world.rank == 0:
        storage.write_bytes(paths.result, json.dumps(asdict(result), indent=1).encode())
    return result


def read_result(paths: RunPaths) -> RunResult | None:
    """Return how a run ended, or None when it has not."""
    try:
        return RunResult(**json.loads(storage.read_bytes(paths.result)))
    except FileNotFoundError:
        return None


def _open_log(config: RunConfig, paths: RunPaths, run: Distillation) -> MetricsLog | None:
    if run.world.rank != 0:
        return None
    return MetricsLog(
        paths.metrics,
        step=run.state.step,
        tensorboard_uri=paths.tensorboard if config.tracking.tensorboard else None,
    )


def _train(
    run: Distillation,
    context: Context,
    *,
    log: MetricsLog | None,
    keeper: CheckpointKeeper,
    best: BestEvaluation | None,
) -> Record:
    """Take the steps that remain; log, evaluate and checkpoint when each is due."""
    train = run.config.train
    metrics: Record = {}
    meter = Meter()
    for finished in training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    ):
        meter.add(finished)
        is_last = finished.step == run.num_steps
        if log is not None and (is_last or finished.step % train.log_every_steps == 0):
            log.append(meter.record(run.state.tokens))
        is_best = False
        if run.evaluates and (is_last or finished.step % train.eval_every_steps == 0):
            metrics = {"step": finished.step, "tokens": run.state.tokens, **run.evaluate()}
            if log is not None:
                log.append(metrics)
            context.report(metrics)
            is_best = metrics["eval/loss"] < (math.inf if best is None else best.loss)
            if is_best:
                best = BestEvaluation(step=finished.step, loss=metrics["eval/loss"])
        stops = context.should_stop()
        if is_last or stops or keeper.is_due(finished.step, is_best=is_best):
            if log is not None:
                log.flush()
            keeper.write(best)
        if stops:
            break
        meter.resume()
    return metrics
