"""A run under Ray Train: a fresh group of workers per attempt, and retries around it.

Storage is the truth: workers find the newest checkpoint themselves, and Ray is told of metrics
only. So an attempt may end in any way Ray knows, and the next one continues exactly.
"""

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ray.train
import torch
from ray.exceptions import RayActorError
from ray.train import FailureConfig, ScalingConfig, UserCallback, WorkerGroupError
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchConfig, TorchTrainer

from raykd.config.load import checked_run, plain
from raykd.config.schema.run import RunConfig
from raykd.distill.world import World
from raykd.errors import RaykdError, TrainingFailedError
from raykd.train.failures import Decision, decide, is_deterministic
from raykd.train.leave import Leave
from raykd.train.paths import RunPaths
from raykd.train.worker import Context, RunResult, train_worker

_PLACEMENT_ATTEMPTS = 5
"""Ray Train waits a minute in each of them for the resources of the workers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """How one group of workers ended."""

    result: RunResult | None
    errors: list[BaseException]
    text: str


def train_under_ray(
    config: RunConfig,
    paths: RunPaths,
    *,
    on_retry: Callable[[str], None],
    callbacks: Sequence[UserCallback] = (),
) -> RunResult:
    """Run the workers until the run is done, starting them again after failures.

    Args:
        config: The run, with absolute paths.
        paths: Where it writes.
        on_retry: Told in one line why the workers are started again.
        callbacks: Of Ray Train, told of every evaluation.

    Raises:
        RaykdError: What a worker raised, where another attempt would raise it again.
        TrainingFailedError: The retries are spent.
    """
    failures = 0
    while True:
        attempt = _attempt(config, paths, callbacks)
        if attempt.result is not None:
            return attempt.result
        failures += 1
        limit = config.cluster.max_failures
        if decide(attempt.errors, failures=failures, max_failures=limit) is Decision.RAISE:
            raise _final_error(attempt, failures)
        on_retry(f"attempt {failures} of {limit + 1} failed: {attempt.text}")


def train_loop(arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one worker of Ray Train; its arguments are plain values, which any Ray pickles."""
    config = checked_run(arguments["config"], origin=arguments["run_uri"])
    torch.set_num_threads(max(1, math.floor(config.cluster.cpus_per_worker)))
    context = ray.train.get_context()
    world = World(
        rank=context.get_world_rank(),
        size=context.get_world_size(),
        device=ray.train.torch.get_device(),
    )
    result = train_worker(
        config,
        RunPaths(arguments["run_uri"]),
        Context(world=world, report=ray.train.report, leave=lambda: Leave.NO),
    )
    return asdict(result)


def _attempt(config: RunConfig, paths: RunPaths, callbacks: Sequence[UserCallback]) -> Attempt:
    cluster = config.cluster
    trainer = TorchTrainer(
        train_loop,
        train_loop_config={"config": plain(config), "run_uri": paths.run},
        torch_config=TorchConfig(backend="nccl" if cluster.gpus_per_worker else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=cluster.num_workers,
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker={"CPU": cluster.cpus_per_worker}
            | ({"GPU": cluster.gpus_per_worker} if cluster.gpus_per_worker else {}),
        ),
        # A name of its own for every attempt: Ray's records of a failed one may not load.
        run_config=RayRunConfig(
            name=f"{config.name}-{uuid.uuid4().hex[:8]}",
            storage_path=paths.ray,
            callbacks=list(callbacks),
            # By default workers that cannot be placed are waited for without end.
            failure_config=FailureConfig(controller_failure_limit=_PLACEMENT_ATTEMPTS),
        ),
    )
    try:
        returned = trainer.fit().return_value
    except WorkerGroupError as error:
        errors: list[BaseException] = list(error.worker_failures.values())
        return Attempt(result=None, errors=errors, text=_last_line(error))
    except (ray.train.TrainingFailedError, RayActorError) as error:
        return Attempt(result=None, errors=[], text=_last_line(error))
    except SystemExit as error:
        # Ray Train's handler of interrupts ends the workers and raises this.
        raise KeyboardInterrupt from error
    return Attempt(result=RunResult(**returned), errors=[], text="")


def _final_error(attempt: Attempt, failures: int) -> RaykdError:
    for error in attempt.errors:
        if isinstance(error, RaykdError) and is_deterministic(error):
            return error
    message = (
        f"the workers failed {failures} times, the last time with: {attempt.text}. "
        "With cluster.num_workers=0 the run fails in this process, with its traceback"
    )
    return TrainingFailedError(message)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
