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

from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.stream import initial_state
from raykd.distill.assemble import num_steps, task_of
from raykd.distill.batches import StepReader
from raykd.distill.loop import LoopOptions, TrainState, training_steps
from raykd.distill.models import scored, student_config, trained_languages
from raykd.distill.optimizer import build_optimizer
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.losses.terms import build_terms
from raykd.models.build import build_model, class_fields
from raykd.models.per_language import PerLanguageModel
from raykd.models.scored import ScoredModel
from raykd.planning.flops import RunFlops

_TIMED_STEPS = 3
"""After one that is not timed: it reads the first rows and prepares the device."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """What one worker of a run does on this machine; medians over the timed steps."""

    flops_per_second: float
    """Operations as ``raykd.planning.flops`` counts them, so none on padding."""

    seconds_per_step: float
    """Of the student alone, on the share of the batch that one of the workers has."""

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
    has_gpu = config.cluster.gpus_per_worker > 0
    if has_gpu and not torch.cuda.is_available():
        return None
    device = torch.device("cuda" if has_gpu else "cpu")
    with _threads(max(1, math.floor(config.cluster.cpus_per_worker))):
        timed = _timed_steps(config, read_manifest(config.data.uri), World(device=device))
        where = _where(device)
    rate = statistics.median(step.tokens / step.seconds for step in timed)
    return Speed(
        flops_per_second=flops.student_per_token * rate,
        seconds_per_step=statistics.median(step.seconds for step in timed),
        where=where,
    )


def _timed_steps(config: RunConfig, manifest: Manifest, world: World) -> list[_Timed]:
    alone = _of_one_worker(config)
    student = _student(config, manifest).to(world.device)
    objective = _objective(alone, student).to(world.device).train()
    state = TrainState(
        step=0,
        tokens=0,
        data=initial_state(manifest, alone.data),
        optimizer=build_optimizer(objective, alone.optimizer),
        student=student,
        projections=objective.projections,
    )
    options = LoopOptions(
        num_steps=max(num_steps(config, manifest), 1 + _TIMED_STEPS),
        seed=alone.train.seed,
        optimizer=alone.optimizer,
    )
    task = task_of(alone, manifest, model_type=student.model.config.model_type)
    reader = StepReader(alone, manifest, task, state=state, world=world)
    try:
        finished = training_steps(state, objective, reader, options=options, world=world)
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
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        ended = time.perf_counter()
        timed.append(_Timed(seconds=ended - started, tokens=tokens))
        started = ended
    return timed


def _of_one_worker(config: RunConfig) -> RunConfig:
    """Return the run that trains on labels what one worker of a run trains on in a step."""
    workers = max(config.cluster.num_workers, 1)
    rows = -(-config.train.global_batch_size // workers)
    return replace(
        config,
        losses=LossesConfig(cross_entropy=CrossEntropyConfig()),
        train=replace(config.train, global_batch_size=rows),
    )


def _student(config: RunConfig, manifest: Manifest) -> ScoredModel:
    torch.manual_seed(config.train.seed)
    described = student_config(config, manifest)
    if (labels := manifest.labels_of(config.task)) is not None:
        described.update(class_fields(labels))
    # Trained in float32 whatever a pretrained student's configuration says.
    model = build_model(described, config.task).float()
    if config.student.projections == "per_language":
        model = PerLanguageModel(model, trained_languages(config, manifest))
    return scored(model, config, manifest)


def _objective(config: RunConfig, student: ScoredModel) -> DistillationStep:
    is_bfloat16 = config.train.precision == "bfloat16"
    return DistillationStep(
        student,
        ensemble=None,
        terms=build_terms(config.losses),
        autocast_dtype=torch.bfloat16 if is_bfloat16 else None,
    )


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
