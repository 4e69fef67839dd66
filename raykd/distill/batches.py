"""The batches of a run: to train on, to evaluate on, to measure on before it begins."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

from raykd.batch import Batch, Rows
from raykd.data.prefetch import prefetched
from raykd.data.selection import DataState, initial_state
from raykd.data.stream import StepRows, evaluation_rows, training_rows
from raykd.distill.loop import StepBatches, TrainState
from raykd.distill.setup import RunSetup
from raykd.distill.sharding import in_lockstep, shards_student
from raykd.distill.world import World
from raykd.tasks.task import Task

_STEPS_AHEAD = 4
"""Steps whose batches are made ahead of the training thread."""

_BATCHES_AHEAD = 8
"""Batches of an evaluation that are made ahead of the thread that scores them."""

PrefetchHook = Callable[[Batch], None]
"""What is done to a batch by the thread that makes it, before another asks for it."""


def _nothing(_: Batch) -> None:
    """Do nothing."""


def _rows_of_steps(
    setup: RunSetup, data: DataState, *, num_rows: int, worker: tuple[int, int]
) -> Iterator[StepRows]:
    """Yield a worker's rows of steps of so many rows, from a state of the data on, for ever."""
    return training_rows(
        setup.manifest,
        setup.config.data,
        seed=setup.config.train.seed,
        global_batch_size=num_rows,
        worker=worker,
        state=data,
    )


def _read_steps(
    setup: RunSetup, task: Task, *, data: DataState, world: World, prefetch_hook: PrefetchHook
) -> Iterator[StepBatches]:
    """Read on and on; without a reader's self, which would keep its own thread alive."""
    train = setup.config.train
    for step in _rows_of_steps(
        setup, data, num_rows=train.global_batch_size, worker=(world.rank, world.size)
    ):
        pieces = step.rows.split(train.micro_batch_size)
        micro_batches = tuple(task.collate(piece).to(world.device) for piece in pieces)
        for batch in micro_batches:
            prefetch_hook(batch)
        yield StepBatches(micro_batches=micro_batches, data=step.state)


class StepReader:
    """This worker's batches of every step from the state of a run on, read ahead."""

    def __init__(
        self,
        setup: RunSetup,
        task: Task,
        *,
        state: TrainState,
        world: World,
        prefetch_hook: PrefetchHook = _nothing,
    ) -> None:
        """Read nothing yet: the state may still be restored."""
        self._setup = setup
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
                self._setup,
                self._task,
                data=self._state.data,
                world=self._world,
                prefetch_hook=self._prefetch_hook,
            )
            self._ahead = prefetched(steps, depth=_STEPS_AHEAD)
        batches = next(self._ahead)
        # With DDP, workers may differ in micro-batches: gradients are exchanged with the last one.
        # FSDP2 gathers weights in every pass, so all workers have to make as many.
        if not shards_student(self._setup.config, self._world):
            return batches
        idle = functools.partial(_idle_batch, self._task, self._world)
        micro_batches = tuple(in_lockstep(batches.micro_batches, idle=idle, world=self._world))
        return replace(batches, micro_batches=micro_batches)

    def restart(self) -> None:
        """Forget what is read ahead: the state of the data has been changed."""
        self._ahead = None


def step_rows(setup: RunSetup, state: DataState) -> Rows:
    """Return the rows of all workers in the step that follows a state of the data."""
    num_rows = setup.config.train.global_batch_size
    return next(_rows_of_steps(setup, state, num_rows=num_rows, worker=(0, 1))).rows


def evaluation_batches(
    setup: RunSetup,
    task: Task,
    *,
    split: str,
    world: World,
    prefetch_hook: PrefetchHook = _nothing,
) -> Iterator[Batch]:
    """Yield this worker's share of a split; a worker without rows gets one empty batch.

    Every worker has to take part in the sums that follow, and in every pass of a sharded student.
    The workers agree on the number of passes in the thread that uses the batches, not in the one
    that makes them: collectives that two threads start could meet in another order elsewhere.
    """
    made = _split_batches(setup, task, split=split, world=world, prefetch_hook=prefetch_hook)
    batches = prefetched(made, depth=_BATCHES_AHEAD)
    idle = functools.partial(_idle_batch, task, world)
    if shards_student(setup.config, world):
        yield from in_lockstep(batches, idle=idle, world=world)
        return
    first = next(batches, None)
    yield idle() if first is None else first
    yield from batches


def scores_anything(setup: RunSetup, task: Task, *, split: str, world: World) -> bool:
    """Tell whether this worker's share of a split has a scored position; read up to the first."""
    batches = _split_batches(setup, task, split=split, world=world, prefetch_hook=_nothing)
    return any(len(batch.positions_P) for batch in batches)


def _split_batches(
    setup: RunSetup,
    task: Task,
    *,
    split: str,
    world: World,
    prefetch_hook: PrefetchHook,
) -> Iterator[Batch]:
    size = setup.config.train.micro_batch_size
    for rows in evaluation_rows(
        setup.manifest,
        setup.config.data,
        split=split,
        batch_size=size,
        worker=(world.rank, world.size),
    ):
        for piece in rows.split(size):
            batch = task.collate(piece).to(world.device)
            prefetch_hook(batch)
            yield batch


def _idle_batch(task: Task, world: World) -> Batch:
    return task.collate(Rows.empty()).to(world.device)


def first_batches(setup: RunSetup, task: Task, *, world: World) -> Iterator[Batch]:
    """Yield the first micro-batches of the training data, alike on every worker."""
    start = initial_state(setup.manifest, setup.config.data)
    num_rows = setup.config.train.micro_batch_size
    # As the only worker: what is measured on these rows decides weights, alike everywhere.
    for step in _rows_of_steps(setup, start, num_rows=num_rows, worker=(0, 1)):
        yield task.collate(step.rows).to(world.device)
