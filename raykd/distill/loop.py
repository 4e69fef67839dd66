"""The training loop, as a generator of finished steps.

Knows nothing of Ray, files or metrics back ends: whoever iterates decides what to do
between two steps. So the same loop runs under Ray Train, in a notebook and in a test.
"""

import contextlib
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.parallel import DistributedDataParallel

from raykd.batch import Batch
from raykd.config.schema.train import OptimizerConfig
from raykd.data.stream import DataState
from raykd.distill.optimizer import learning_rate
from raykd.distill.step import DistillationStep, StepCounts
from raykd.distill.world import World
from raykd.errors import NonFiniteLossError
from raykd.models.scored import ScoredModel


@dataclass(kw_only=True, slots=True)
class TrainState:
    """Everything that a step changes: a resumed run continues from it bit by bit.

    The learning rate and the dropout are pure functions of the step, so neither a schedule
    nor a random number generator has a state to save.
    """

    step: int
    """Optimizer steps taken."""

    tokens: int
    """Tokens trained on, over all workers, padding not counted."""

    data: DataState
    optimizer: torch.optim.Optimizer
    student: ScoredModel
    projections: torch.nn.ModuleDict
    """What layer losses learn beside the student; trained and restored with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBatches:
    """What one worker trains on in one step."""

    micro_batches: tuple[Batch, ...]
    """At least one; a worker without rows gets one without scored positions."""

    data: DataState
    """Where the data stands after this step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedStep:
    """What one optimizer step did, over all workers."""

    step: int
    """Optimizer steps taken so far, this one included."""

    loss: float
    """Objective: the weighted sum of the terms."""

    terms: dict[str, float]
    """Each term whose weight is not 0, unweighted: per scored position, or per token for terms
    on layers."""

    grad_norm: float
    """Global L2 norm of the gradient before clipping."""

    learning_rate: float
    tokens: int
    """Tokens in this step, padding not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopOptions:
    """What the loop needs to know of a run."""

    num_steps: int
    seed: int
    optimizer: OptimizerConfig


def training_steps(
    state: TrainState,
    objective: DistillationStep,
    steps: Iterator[StepBatches],
    *,
    options: LoopOptions,
    world: World,
) -> Iterator[FinishedStep]:
    """Take optimizer steps until ``num_steps``, yielding after each.

    Raises:
        NonFiniteLossError: On all workers alike, before a bad gradient reaches the weights.
    """
    parallel = _parallel(objective, world)
    while state.step < options.num_steps:
        batches = next(steps)
        torch.manual_seed(_dropout_seed(options.seed, state.step, world.rank))
        rate = learning_rate(options.optimizer, step=state.step, num_steps=options.num_steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        progress = state.step / max(options.num_steps - 1, 1)
        sums = _accumulate(parallel, batches, progress=progress, world=world)
        grad_norm = torch.nn.utils.clip_grad_norm_(
            objective.parameters(), options.optimizer.max_grad_norm
        )
        loss, *terms, tokens = sums.tolist()
        names = [term.name for term, _ in objective.active_terms(progress)]
        finished = FinishedStep(
            step=state.step + 1,
            loss=loss,
            terms=dict(zip(names, terms, strict=True)),
            grad_norm=float(grad_norm),
            learning_rate=rate,
            tokens=int(tokens),
        )
        _require_finite(finished)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        state.step, state.data = finished.step, batches.data
        state.tokens += finished.tokens
        yield finished


def _parallel(objective: DistillationStep, world: World) -> torch.nn.Module:
    if world.size == 1:
        return objective
    return DistributedDataParallel(
        objective, forward_sync_buffers=False, gradient_as_bucket_view=True
    )


def _accumulate(
    parallel: torch.nn.Module, batches: StepBatches, *, progress: float, world: World
) -> torch.Tensor:
    """Run backward on the micro-batches; return the loss, the terms, and the tokens.

    Every worker divides by the counts of the step over all workers, known beforehand. The
    gradients of the workers are averaged, hence the factor of the world's size.
    """
    micro_batches = [batch.to(world.device) for batch in batches.micro_batches]
    positions = sum(len(batch.positions_P) for batch in micro_batches)
    tokens = sum(batch.num_tokens for batch in micro_batches)
    totals = world.sum(torch.tensor([positions, tokens], dtype=torch.float64)).tolist()
    counts = StepCounts(positions=max(totals[0], 1.0), tokens=max(totals[1], 1.0))
    shares = []
    for index, batch in enumerate(micro_batches):
        with _synchronised(parallel, is_last=index == len(micro_batches) - 1):
            output = parallel(batch, progress, counts)
            (output.loss * world.size).backward()
        shares.append(torch.stack([output.loss.detach(), *output.terms]).double())
    found = world.sum(torch.stack(shares).sum(0))
    return torch.cat([found, found.new_tensor([totals[1]])])


def _synchronised(
    parallel: torch.nn.Module, *, is_last: bool
) -> contextlib.AbstractContextManager[None]:
    """Exchange gradients once per step, with the last micro-batch."""
    if isinstance(parallel, DistributedDataParallel) and not is_last:
        return parallel.no_sync()
    return contextlib.nullcontext()


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _require_finite(finished: FinishedStep) -> None:
    if math.isfinite(finished.loss) and math.isfinite(finished.grad_norm):
        return
    message = (
        f"step {finished.step}: the loss is {finished.loss} and the gradient norm "
        f"{finished.grad_norm}. The weights are still those of step {finished.step - 1}. "
        f"Lower optimizer.learning_rate, raise optimizer.warmup_fraction, or set "
        f"train.precision=float32."
    )
    raise NonFiniteLossError(message)
