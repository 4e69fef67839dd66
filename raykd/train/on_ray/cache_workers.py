"""Caches built over a Ray cluster: workers that each hold the teacher, and write part after part.

A worker has what cluster gives to one of a training. Parts are whole or not there, so a worker may
die at any moment: its part is done again by another, and a new worker takes its place.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError

import ray
from raykd.cached_teachers.writer import CacheWatch, CacheWriter, TeacherWriter
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Shard
from raykd.errors import StoppedError, TrainingFailedError
from raykd.machine.allocator import ONE_HEAP
from raykd.machine.process import prepare_process
from raykd.ray_cluster.placement import SETTLE_SECONDS, described_room, worker_resources
from raykd.teachers.cache.parts import Coverage, FinishedPart, Part
from raykd.teachers.cache.payload import Encoding, Payload
from raykd.teachers.cache.planner import ModePlan
from raykd.train.on_ray.failure_cause import telling_error

_POLL_SECONDS = 0.2

_PLACE_SECONDS = 300.0
"""Given to a cluster to place the first worker, or to start a machine for it."""

Call = tuple[object, ...]
"""A method of TeacherWriter and its arguments."""


@contextmanager
def cache_workers(config: RunConfig, name: str, watch: CacheWatch) -> Iterator[CacheWriter]:
    """Yield workers that ask a teacher of a run, on the Ray that this process is connected to."""
    workers = _Workers(config=config, name=name, watch=watch)
    try:
        yield workers
    finally:
        workers.close()


class TeacherWorker:
    """A process of the cluster; it loads the teacher when it is first asked."""

    def __init__(self, config: RunConfig, name: str) -> None:
        prepare_process(cores=config.cluster.cpus_per_worker)
        self._config = config
        self._name = name
        self._writer: TeacherWriter | None = None

    def is_there(self) -> bool:
        """Return at once."""
        return True

    def ask(self, method: str, *arguments: object) -> object:
        """Return what a method of the teacher's writer returns."""
        if self._writer is None:
            self._writer = TeacherWriter(self._config, self._name)
        return getattr(self._writer, method)(*arguments)


@dataclass(kw_only=True, slots=True)
class _Workers:
    """The workers of one teacher, as the one who writes its cache."""

    config: RunConfig
    name: str
    watch: CacheWatch
    idle: list[ActorHandle] = field(default_factory=list)
    busy: dict[ray.ObjectRef, tuple[ActorHandle, Call | None]] = field(default_factory=dict)
    """What Ray will answer to the worker and what it was asked; None: whether it is there."""

    deaths: int = 0
    last_there: float = field(default_factory=time.monotonic)
    """When one of them was known to have its place, by the monotonic clock."""

    is_told: bool = False
    """Whether it was said that no worker can be placed."""

    def __post_init__(self) -> None:
        """Ask for the workers."""
        for _ in range(self.config.cluster.num_workers):
            self._start()

    def plans(
        self,
        coverages: Sequence[Coverage],
        payloads: Sequence[Payload],
        temperatures: Sequence[float],
    ) -> list[ModePlan]:
        """Let one worker measure ways to keep what the teacher says."""
        plans: list[ModePlan] = self._answer("plans", coverages, payloads, temperatures)
        return plans

    def encoding(self, payload: Payload, shard: Shard) -> Encoding:
        """Let one worker find out how what the teacher says is kept."""
        encoding: Encoding = self._answer("encoding", payload, shard)
        return encoding

    def written(
        self,
        uri: str,
        parts: Sequence[Part],
        encoding: Encoding,
        should_stop: Callable[[], bool],
    ) -> Iterator[FinishedPart]:
        """Write parts, as many at a time as there are workers."""
        # Once, not with every call: it may hold the map of a large vocabulary.
        shared = ray.put(encoding)
        return self._answers([("write", uri, part, shared) for part in parts], should_stop)

    def close(self) -> None:
        """End the workers."""
        for worker in (*self.idle, *(worker for worker, _ in self.busy.values())):
            ray.kill(worker)

    def _start(self) -> None:
        resources = worker_resources(self.config.cluster)
        worker = (
            ray.remote(TeacherWorker)
            .options(
                num_cpus=resources["CPU"],
                num_gpus=resources.get("GPU", 0),
                # Named, so that a trial's workers do not have to fit into what Tune reserves.
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": ONE_HEAP},
            )
            .remote(self.config, self.name)
        )
        # Answered as soon as it has its place: until then nobody gives it work.
        self.busy[worker.is_there.remote()] = worker, None

    def _answer(self, *call: object) -> Any:
        for answer in self._answers([call], self.watch.should_stop):
            return answer
        message = f"cache of teacher {self.name}: stopped before a worker was there"
        raise StoppedError(message)

    def _answers(self, calls: Sequence[Call], should_stop: Callable[[], bool]) -> Iterator[Any]:
        """Yield what is answered to calls, in any order; asked to stop, make no others."""
        waiting = deque(calls)
        while waiting or self._is_asked:
            if should_stop():
                waiting.clear()
            self._hand_out(waiting)
            for answered in self._answered():
                worker, call = self.busy.pop(answered)
                try:
                    answer = ray.get(answered)
                except RayActorError as error:
                    # It may only be out of reach, and write on.
                    ray.kill(worker)
                    self._replace(error)
                    waiting.extend([] if call is None else [call])
                    continue
                except RayError as error:
                    ray.kill(worker)
                    raise telling_error([error]) or error from None
                self.idle.append(worker)
                if call is not None:
                    yield answer

    @property
    def _is_asked(self) -> bool:
        return any(call is not None for _, call in self.busy.values())

    def _hand_out(self, waiting: deque[Call]) -> None:
        while waiting and self.idle:
            call, worker = waiting.popleft(), self.idle.pop()
            self.busy[worker.ask.remote(*call)] = worker, call

    def _answered(self) -> list[ray.ObjectRef]:
        if not self.busy:
            return []
        self._require_placement()
        answered: list[ray.ObjectRef] = ray.wait(list(self.busy), timeout=_POLL_SECONDS)[0]
        return answered

    def _replace(self, error: RayActorError) -> None:
        """Start a worker for one that has died.

        Raises:
            TrainingFailedError: Too many have.
        """
        most = self.config.cluster.max_failures
        # A machine that is taken away is no fault of the run.
        self.deaths += not error.preempted
        if self.deaths > most:
            reason = str(error).splitlines()[0]
            message = (
                f"the workers of the cache of teacher {self.name} died {self.deaths} times, the "
                f"last time: {reason}. Finished parts are kept: the same command continues"
            )
            raise TrainingFailedError(message)
        self.watch.on_message(
            f"cache of teacher {self.name}: a worker died (failure {self.deaths} of {most} "
            "allowed); another does its part again"
        )
        self._start()

    def _require_placement(self) -> None:
        """Say that no worker can be placed; some time later, give up.

        Raises:
            TrainingFailedError: It is later.
        """
        if self.idle or self._is_asked:
            self.last_there = time.monotonic()
        limit = _PLACE_SECONDS if self.is_told else SETTLE_SECONDS
        if time.monotonic() - self.last_there < limit:
            return
        cluster = self.config.cluster
        wanted = described_room(worker_resources(cluster), cluster.num_workers)
        message = f"cache of teacher {self.name}: there is no place for the workers: {wanted}"
        if self.is_told:
            raise TrainingFailedError(message)
        self.is_told = True
        self.watch.on_message(message)
