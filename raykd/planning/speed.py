"""How fast this machine trains a student: a few optimizer steps, timed, and nothing kept.

The steps are a run's own first steps on its own data, but for what may not exist yet: there are
no teachers and no losses of theirs, and the student has random weights. Nothing is written.
"""

import itertools
import math
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig, SquaredErrorConfig
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import RunModels, build_objective, build_state, loop_options
from raykd.distill.batches import StepReader
from raykd.distill.loop import training_steps
from raykd.distill.models import random_student
from raykd.distill.setup import RunSetup, read_setup
from raykd.distill.world import World, local_device
from raykd.planning.flops import RunFlops

_TIMED_STEPS = 3
"""After one that is not timed: it reads the first rows and prepares the device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What one worker of a run does on this machine; medians over the timed steps."""

    flops_per_second: float
    """Operations as ``raykd.planning.flops`` counts them, so none on padding."""

    seconds_per_step: float
    """For the student alone, on what one of the workers has of the batch."""

    where: str
    """The device, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Timed:
    seconds: float
    tokens: int


def measured_speed(config: RunConfig, flops: RunFlops) -> Speed | None:
    """Take a few optimizer steps of a run's student in this process, and time them.

    Args:
        config: The run. Its teachers and its pretrained student need a configuration, no
            weights; one without a GPU is measured with as many threads as a worker has CPUs.
        flops: What the run costs for each token.

    Returns:
        The speed, or None where the run asks for a GPU and there is none here.

    Raises:
        RaykdError: The data or the student's configuration cannot be read, or do not fit.
    """
    if (device := local_device(config.cluster)) is None:
        return None
    with _threads(max(1, math.floor(config.cluster.cpus_per_worker))):
        timed = _timed_steps(read_setup(config), World(device=device))
        where = _where(device)
    rate = statistics.median(step.tokens / step.seconds for step in timed)
    return Speed(
        flops_per_second=flops.student_per_token * rate,
        seconds_per_step=statistics.median(step.seconds for step in timed),
        where=where,
    )


def _timed_steps(setup: RunSetup, world: World) -> list[_Timed]:
    student = random_student(setup).to(world.device)
    models = RunModels(student=student, task=setup.task(student.model.config.model_type))
    alone = _of_one_worker(setup)
    objective = build_objective(alone, models, world=world)
    state = build_state(alone, objective)
    reader = StepReader(alone, models.task, state=state, world=world)
    try:
        finished = training_steps(
            state, objective, reader, options=loop_options(alone), world=world
        )
        tokens = (step.tokens for step in itertools.islice(finished, 1 + _TIMED_STEPS))
        return _timed(tokens, world.device)[1:]
    finally:
        # Ends the thread that reads ahead.
        reader.restart()


def _timed(steps: Iterator[int], device: torch.device) -> list[_Timed]:
    """Time each of the steps, which say their tokens."""
    timed = []
    started = time.perf_counter()
    for tokens in steps:
        # CUDA works behind Python: a step is over when its device is done.
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.perf_counter()
        timed.append(_Timed(seconds=ended - started, tokens=tokens))
        started = ended
    return timed


def _of_one_worker(setup: RunSetup) -> RunSetup:
    """Return the run that trains on labels what one worker of a run trains on in a step."""
    config = setup.config
    train = replace(
        config.train,
        # Rounded up: a step takes as long as its worker with the most rows.
        global_batch_size=-(-config.train.global_batch_size // max(config.cluster.num_workers, 1)),
        num_steps=max(setup.num_steps, 1 + _TIMED_STEPS),
        # Random weights and a few steps: what their loss does says nothing.
        loss_spike_factor=None,
        # Compiling takes longer than the steps that are timed.
        compile=False,
    )
    alone = replace(
        config,
        teachers={},
        teacher_weights=None,
        student=replace(config.student, init=None),
        losses=LossesConfig(squared_error=SquaredErrorConfig())
        if setup.predicts_number
        else LossesConfig(cross_entropy=CrossEntropyConfig()),
        train=train,
    )
    return replace(setup, config=alone)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with so many threads, and with as many as before in the end."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _where(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
