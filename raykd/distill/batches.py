"""The batches of a run: to train on, to evaluate on, to measure on before it begins."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from raykd.batch import Batch, Rows
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest
from raykd.data.prefetch import prefetched
from raykd.data.stream import DataState, evaluation_rows, initial_state, training_rows
from raykd.distill.loop import StepBatches, TrainState
from raykd.distill.sharding import in_lockstep, shards_student
from raykd.distill.world import World
from raykd.tasks.task import Task

_STEPS_AHEAD = 4
"""Steps whose batches are made ahead of the training thread."""

_BATCHES_AHEAD = 8
"""Of an evaluation."""

PrefetchHook = Callable[[Batch], None]
"""What is done to a batch by the thread that makes it, before another asks for it."""


def _nothing(_: Batch) -> None:
    """Do nothing."""


def _read_steps(
    config: RunConfig,
    manifest: Manifest,
    task: Task,
    *,
    data: DataState,
    world: World,
    prefetch_hook: PrefetchHook,
) -> Iterator[StepBatches]:
    """Read on and on; without a reader's self, which would keep its own thread alive."""
    for step in training_rows(
        manifest,
        config.data,
        seed=config.train.seed,
        global_batch_size=config.train.global_batch_size,
        worker=(world.rank, world.size),
        state=data,
    ):
        pieces = step.rows.split(config.train.micro_batch_size)
        micro_batches = tuple(task.collate(piece).to(world.device) for piece in pieces)
        for batch in micro_batches:
            prefetch_hook(batch)
        yield StepBatches(micro_batches=micro_batches, data=step.state)


class StepReader:
    """This worker's batches of every step from the state of a run on, read ahead."""

    def __init__(
        self,
        config: RunConfig,
        manifest: Manifest,
        task: Task,
        *,
        state: TrainState,
        world: World,
        prefetch_hook: PrefetchHook = _nothing,
    ) -> None:
        """Read nothing yet: the state may still be restored."""
        self._config = config
        self._manifest = manifest
        self._task = task
        self._state = state
        self._world = world
        self._prefetch_hook = prefetch_hook
        self._ahead: Iterator[StepBatches] | None = None

    def __iter__(self) -> "StepReader":
        """Return itself: there is one place in the data."""
        return self

    def __next__(self) -> StepBatches:
        """Return the batches of the next step."""
        if self._ahead is None:
            steps = _read_steps(
                self._config,
                self._manifest,
                self._task,
                data=self._state.data,
                world=self._world,
                prefetch_hook=self._prefetch_hook,
            )
            self._ahead = prefetched(steps, depth=_STEPS_AHEAD)
        batches = next(self._ahead)
        if not shards_student(self._config, self._world):
            return batches
        idle = functools.partial(_idle_batch, self._task, self._world)
        micro_batches = tuple(in_lockstep(batches.micro_batches, idle=idle, world=self._world))
        return replace(batches, micro_batches=micro_batches)

    def restart(self) -> None:
        """Forget what is read ahead: the state of the data has been changed."""
        self._ahead = None


def step_rows(config: RunConfig, manifest: Manifest, state: DataState) -> Rows:
    """Return the rows of all workers in the step that follows a state of the data."""
    steps = training_rows(
        manifest,
        config.data,
        seed=config.train.seed,
        global_batch_size=config.train.global_batch_size,
        worker=(0, 1),
        state=state,
    )
    return next(steps).rows


def evaluation_batches(
    config: RunConfig,
    manifest: Manifest,
    task: Task,
    *,
    split: str,
    world: World,
    prefetch_hook: PrefetchHook = _nothing,
) -> Iterator[Batch]:
    """Yield this worker's share of a split; a worker without rows gets one empty batch.

    Every worker has to take part in the sums that follow, and in every pass of a student that
    is in shares. These are agreed on where the batches are used: another thread makes them.
    """
    made = _split_batches(
        config, manifest, task, split=split, world=world, prefetch_hook=prefetch_hook
    )
    batches = prefetched(made, depth=_BATCHES_AHEAD)
    idle = functools.partial(_idle_batch, task, world)
    if shards_student(config, world):
        yield from in_lockstep(batches, idle=idle, world=world)
        return
    first = next(batches, None)
    yield idle() if first is None else first
    yield from batches


def scores_anything(
    config: RunConfig, manifest: Manifest, task: Task, *, split: str, world: World
) -> bool:
    """Tell whether this worker's share of a split has a scored position; read up to the first."""
    batches = _split_batches(
        config, manifest, task, split=split, world=world, prefetch_hook=_nothing
    )
    return any(len(batch.positions_P) for batch in batches)


def _split_batches(
    config: RunConfig,
    manifest: Manifest,
    task: Task,
    *,
    split: str,
    world: World,
    prefetch_hook: PrefetchHook,
) -> Iterator[Batch]:
    for rows in evaluation_rows(
        manifest,
        config.data,
        split=split,
        batch_size=config.train.micro_batch_size,
        worker=(world.rank, world.size),
    ):
        for piece in rows.split(config.train.micro_batch_size):
            batch = task.collate(piece).to(world.device)
            prefetch_hook(batch)
            yield batch


def _idle_batch(task: Task, world: World) -> Batch:
    return task.collate(Rows.empty()).to(world.device)


def first_batches(
    config: RunConfig, manifest: Manifest, task: Task, *, world: World
) -> Iterator[Batch]:
    """Yield the first micro-batches of the training data, alike on every worker."""
    for step in training_rows(
        manifest,
        config.data,
        seed=config.train.seed,
        global_batch_size=config.train.micro_batch_size,
        worker=(0, 1),
        state=initial_state(manifest, config.data),
    ):
        yield task.collate(step.rows).to(world.device)
