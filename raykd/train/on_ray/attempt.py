"""One attempt at a run: a group of Ray Train's workers, started once and watched to its end.

Ray's own retries stay off: what it remembers of an attempt that failed may not load, and its view
of the cluster is stale after a loss. Ray is given a thread of its own, so that this one can ask
the workers to stop, and signals stay with the program.
"""

import concurrent.futures
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import ray.train
from ray.exceptions import RayActorError, RayError
from ray.train import FailureConfig, ScalingConfig, UserCallback
from ray.train import RunConfig as RayRunConfig
from ray.train.torch import TorchTrainer

import ray
from raykd.config.load import plain
from raykd.config.schema.run import RunConfig
from raykd.errors import RaykdError
from raykd.machine.allocator import ONE_HEAP
from raykd.ray_cluster.pending_watch import PlaceWatch
from raykd.ray_cluster.placement import (
    Reservation,
    alive_nodes,
    are_placed,
    forget_placed,
    groups_of_this_job,
    kill_actors,
    remove_groups,
    worker_resources,
)
from raykd.runs.paths import RunPaths
from raykd.runs.result import RunResult
from raykd.runs.retry import FailureKind
from raykd.runs.stop import StopReason
from raykd.storage.remote.filesystem import arrow_filesystem
from raykd.train.on_ray.failure_cause import failure_kind, telling_error
from raykd.train.on_ray.process_group import NodeTorchConfig
from raykd.train.on_ray.stop_request import request_stop, withdraw_stop
from raykd.train.on_ray.worker import train_loop

_PLACEMENT_ATTEMPTS = 5
"""Ray Train waits a minute in each of them for the resources of the workers."""

_POLL_SECONDS = 0.2
_PLACEMENT_POLL_SECONDS = 1.0
_END_SECONDS = 10.0
_CONTROLLER = "TrainController"
"""Ray Train's own class; it gives out no handle of it."""

_SHORT_TEXT = 150
"""Characters; Ray explains at length what may have killed a worker."""

_MAY_BE_LOSS = (FailureKind.WORKER_DIED, FailureKind.FAILED, FailureKind.CONTROLLER_DIED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """How one group of workers ended."""

    result: RunResult | None
    """Where all of them returned, at the end or asked to stop."""

    kind: FailureKind | None = None
    """Why it ended; None where the run is done."""

    error: BaseException | None = None
    """The most telling one, if there is any."""

    @property
    def text(self) -> str:
        """The last line of what the error says; its beginning, where it is not raykd's."""
        lines = [line.strip() for line in str(self.error or "").splitlines() if line.strip()]
        if not lines:
            return type(self.error).__name__
        if not isinstance(self.error, RaykdError):
            return textwrap.shorten(lines[-1], _SHORT_TEXT, placeholder=" ...")
        return lines[-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptSpec:
    """What an attempt is to do."""

    config: RunConfig
    paths: RunPaths
    name: str
    """Unlike any other: by it its workers are asked to stop, and Ray's records carry it."""

    num_workers: int
    callbacks: Sequence[UserCallback]
    should_stop: Callable[[], bool]
    tell: Callable[[str], None]
    is_alone: bool
    """Whether nothing else in this Ray job has workers."""


def run_attempt(spec: AttemptSpec) -> Attempt:
    """Run a group of workers until it ends; ask it to stop where that is wanted."""
    nodes = alive_nodes()
    groups = groups_of_this_job()
    fitted = _started(_trainer(spec).fit)
    watch = _Watch(spec)
    try:
        while not concurrent.futures.wait([fitted], timeout=_POLL_SECONDS).done:
            watch.look()
            if watch.is_futile:
                return Attempt(result=None, kind=FailureKind.STOPPED)
    finally:
        watch.close()
        if spec.is_alone:
            _end(fitted)
            # Where workers fail while they start, Ray Train keeps their places for ever: its
            # cleaner learns of a placement group when the workers have started (ray#58515).
            remove_groups(groups_of_this_job() - groups)
    try:
        return _returned(RunResult(**fitted.result().return_value))
    except (ray.train.TrainingFailedError, RayError) as error:
        return _failed(error, nodes)


class _Watch:
    """Asks the workers of an attempt to stop: the user wants it, or more can be placed."""

    def __init__(self, spec: AttemptSpec) -> None:
        self._spec = spec
        self._asked = StopReason.NONE
        self._reservation: Reservation | None = None
        self._next_look = 0.0
        self._places = PlaceWatch() if spec.is_alone else None
        self._told = ""

    def look(self) -> None:
        """Look once."""
        self._tell_wait()
        reason = self._reason()
        # A higher reason may follow a lower one, such as STOPPED after RESIZED.
        if reason > self._asked:
            request_stop(self._spec.name, reason)
            self._asked = reason

    @property
    def is_futile(self) -> bool:
        """Whether nobody is there to stop: the workers have no places, and end with the job."""
        spec = self._spec
        return spec.is_alone and self._asked is StopReason.STOPPED and not are_placed(spec.name)

    def close(self) -> None:
        """Give back what is reserved for more workers, and remove what was said and asked."""
        withdraw_stop(self._spec.name)
        forget_placed(self._spec.name)
        # Before the next attempt asks: it would wait for what this one still holds.
        if self._reservation is not None:
            self._reservation.release()

    def _tell_wait(self) -> None:
        """Say why the workers wait for places; the driver of a sweep says so for its trials."""
        wait = None if self._places is None else self._places.look()
        if wait is not None and wait.reason != self._told:
            self._told = wait.reason
            self._spec.tell(str(wait))

    def _reason(self) -> StopReason:
        if self._spec.should_stop():
            return StopReason.STOPPED
        if self._asked or time.monotonic() < self._next_look:
            return StopReason.NONE
        self._next_look = time.monotonic() + _PLACEMENT_POLL_SECONDS
        return StopReason.RESIZED if self._can_grow() else StopReason.NONE

    def _can_grow(self) -> bool:
        cluster = self._spec.config.cluster
        missing = cluster.num_workers - self._spec.num_workers
        # Reserved before, it would take the places of the very workers that are starting.
        if self._reservation is None and missing and are_placed(self._spec.name):
            self._reservation = Reservation(worker_resources(cluster), count=missing)
        return self._reservation is not None and self._reservation.num_granted > 0


def _trainer(spec: AttemptSpec) -> TorchTrainer:
    cluster = spec.config.cluster
    filesystem, path = arrow_filesystem(spec.paths.ray)
    return TorchTrainer(
        train_loop,
        train_loop_config={
            "config": plain(spec.config),
            "run_uri": spec.paths.run,
            "attempt": spec.name,
        },
        torch_config=NodeTorchConfig(
            backend="nccl" if cluster.gpus_per_worker else "gloo",
            timeout_s=cluster.collective_timeout_seconds,
        ),
        scaling_config=ScalingConfig(
            num_workers=spec.num_workers,
            use_gpu=cluster.gpus_per_worker > 0,
            resources_per_worker=worker_resources(cluster),
        ),
        run_config=RayRunConfig(
            # New in every attempt: Ray Train restores what it remembers of a name, which may not
            # load, and then never does.
            name=f"{spec.config.name}-{spec.name}",
            storage_path=path,
            storage_filesystem=filesystem,
            worker_runtime_env={"env_vars": ONE_HEAP},
            callbacks=list(spec.callbacks),
            failure_config=FailureConfig(
                # By default workers that cannot be placed are waited for without end.
                controller_failure_limit=_PLACEMENT_ATTEMPTS,
                # Retries are raykd's (raykd.runs.retry), which look at what storage has.
                max_preemption_failures=0,
            ),
        ),
    )


def _started(work: Callable[[], ray.train.Result]) -> "Future[ray.train.Result]":
    """Begin work in a thread that nobody waits for when the program is interrupted."""
    future: Future[ray.train.Result] = Future()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001  raised again where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="raykd-fit", daemon=True).start()
    return future


def _end(fitted: "Future[ray.train.Result]") -> None:
    """Have the thread of an attempt end, as where its controller dies.

    A thread that still waits for Ray when Ray is shut down may end the process on the spot.
    """
    deadline = time.monotonic() + _END_SECONDS
    while not fitted.done() and time.monotonic() < deadline:
        kill_actors(_CONTROLLER)
        concurrent.futures.wait([fitted], timeout=_POLL_SECONDS)


def _returned(result: RunResult) -> Attempt:
    # Each reason is a kind of the same name.
    kind = None if result.is_done else FailureKind[result.stop_reason.name]
    return Attempt(result=result, kind=kind)


def _failed(error: Exception, nodes: set[str]) -> Attempt:
    """Return what an error of an attempt means that began with these nodes."""
    kind = (
        FailureKind.CONTROLLER_DIED if isinstance(error, RayActorError) else failure_kind([error])
    )
    # Ray may need a quarter of a minute to know; until then it looks like the death of a worker.
    if kind in _MAY_BE_LOSS and not nodes <= alive_nodes():
        kind = FailureKind.NODE_LOST
    return Attempt(result=None, kind=kind, error=telling_error([error]))
