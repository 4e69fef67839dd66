"""The training loop, as a generator of finished steps.

Knows nothing of Ray, files or metrics back ends: whoever iterates decides what to do
between two steps. So the same loop runs under Ray Train, in a notebook and in a test.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch.nn.parallel import DistributedDataParallel

from raykd.batch import Batch
from raykd.config.schema.train import OptimizerConfig
from raykd.data.selection import DataState
from raykd.distill.diverged import mean_with, require_sound
from raykd.distill.optimizer import learning_rate
from raykd.distill.sharding import is_sharded
from raykd.distill.step import DistillationStep, StepCounts, StepOutput
from raykd.distill.world import World
from raykd.models.scored import ScoredModel
from raykd.models.shards import full_tensor


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

    recent_loss: float | None = None
    """Exponential mean of the losses of the last steps that scored a position; None before the
    first."""

    num_losses: int = 0
    """Steps that have scored a position: those that the mean is of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBatches:
    """What one worker trains on in one step."""

    micro_batches: tuple[Batch, ...]
    """At least one; a worker without rows gets one without scored positions."""

    data: DataState
    """Where the data stands after this step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTotals:
    """What the backward pass of one step adds up, over all workers."""

    names: tuple[str, ...]
    """Names of the terms whose weight is not 0, in the order of ``values``."""

    values: torch.Tensor
    """The objective, then each term, unweighted; float64 on the device that computed it."""

    positions: int
    tokens: int


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
    positions: int
    """Scored positions in this step; where there are none its loss is 0, and says nothing."""

    tokens: int
    """Tokens in this step, padding not counted."""

    data_wait_seconds: float = field(compare=False)
    """How long this worker, before the step, waited for its batches; no part of what makes two
    steps equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopOptions:
    """What the loop needs to know of a run."""

    num_steps: int
    seed: int
    optimizer: OptimizerConfig
    loss_spike_factor: float | None = None
    """Loss over the mean of recent losses from which on a step is a spike; None is never."""

    def progress(self, step: int) -> float:
        """Return how far the run is when ``step`` steps are taken: 0 at first, 1 in the last."""
        return step / max(self.num_steps - 1, 1)


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
        DivergedError: On all workers alike, before a bad gradient reaches the weights.
    """
    parallel = _parallel(objective, world)
    while state.step < options.num_steps:
        asked = time.perf_counter()
        batches = next(steps)
        data_wait_seconds = time.perf_counter() - asked
        rate = learning_rate(options.optimizer, step=state.step, num_steps=options.num_steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        totals = backward(parallel, batches, step=state.step, options=options, world=world)
        # Of a sharded student it is a DTensor, which the workers add up here.
        grad_norm = full_tensor(
            torch.nn.utils.clip_grad_norm_(objective.parameters(), options.optimizer.max_grad_norm)
        )
        # The one time that the device is waited for.
        norm_1 = grad_norm.to(totals.values).reshape(1)
        loss, *terms, norm = torch.cat([totals.values, norm_1]).tolist()
        finished = FinishedStep(
            step=state.step + 1,
            loss=loss,
            terms=dict(zip(totals.names, terms, strict=True)),
            grad_norm=norm,
            learning_rate=rate,
            positions=totals.positions,
            tokens=totals.tokens,
            data_wait_seconds=data_wait_seconds,
        )
        # Between backward and step: where it raises, the weights are those of the step before, and
        # become the checkpoint that a replay begins at.
        require_sound(
            step=finished.step,
            loss=finished.loss,
            grad_norm=finished.grad_norm,
            recent_loss=state.recent_loss,
            num_losses=state.num_losses,
            spike_factor=options.loss_spike_factor,
        )
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        # Only after the optimizer: a saved state names no step that its weights have not taken.
        state.step, state.data = finished.step, batches.data
        state.tokens += finished.tokens
        if finished.positions:
            state.recent_loss = mean_with(finished.loss, state.recent_loss)
            state.num_losses += 1
        yield finished


def backward(
    parallel: DistillationStep | DistributedDataParallel,
    batches: StepBatches,
    *,
    step: int,
    options: LoopOptions,
    world: World,
) -> StepTotals:
    """Add the gradient of one step to the parameters; neither clips it nor uses it.

    Every worker divides by the counts of the step over all workers, known beforehand. The
    gradients of the workers are averaged, hence the factor of the world's size.

    Args:
        parallel: The objective, wrapped where there are several workers.
        batches: This worker's.
        step: Optimizer steps taken before.
        options: Of the run.
        world: Every worker takes part.
    """
    # Anew in every step: a resumed run draws the same masks, and no generator is saved.
    torch.manual_seed(_dropout_seed(options.seed, step, world.rank))
    micro_batches = [batch.to(world.device) for batch in batches.micro_batches]
    positions = sum(len(batch.positions_P) for batch in micro_batches)
    tokens = sum(batch.num_tokens for batch in micro_batches)
    counted = world.sum_known([positions, tokens])
    # At least 1: a step in which nothing is scored has the loss 0, not NaN.
    counts = StepCounts(positions=max(counted[0], 1.0), tokens=max(counted[1], 1.0))
    partial_sums: list[torch.Tensor] = []
    names: tuple[str, ...] = ()
    for index, batch in enumerate(micro_batches):
        with _synchronised(parallel, is_last=index == len(micro_batches) - 1):
            output: StepOutput = parallel(batch, options.progress(step), counts)
            (output.loss * world.size).backward()
        # Weights follow the progress alone: all micro-batches have the same terms.
        names = tuple(output.terms)
        # float64: the sum over micro-batches and workers adds no rounding of its own.
        partial_sums.append(torch.stack([output.loss.detach(), *output.terms.values()]).double())
    return StepTotals(
        names=names,
        values=world.all_reduce_sum(torch.stack(partial_sums).sum(0)),
        positions=round(counted[0]),
        tokens=round(counted[1]),
    )


def _parallel(
    objective: DistillationStep, world: World
) -> DistillationStep | DistributedDataParallel:
    if world.size == 1 or is_sharded(objective):
        return objective
    # Transformers have no buffers that training changes, so none is sent before a pass; gradients
    # that are views of the buckets need no memory of their own.
    return DistributedDataParallel(
        objective, forward_sync_buffers=False, gradient_as_bucket_view=True
    )


def _synchronised(
    parallel: torch.nn.Module, *, is_last: bool
) -> contextlib.AbstractContextManager[None]:
    """Exchange gradients once per step, with the last micro-batch.

    A sharded student exchanges them with each: none of its workers could hold their sum.
    """
    if isinstance(parallel, DistributedDataParallel) and not is_last:
        return parallel.no_sync()
    return contextlib.nullcontext()


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    # Hashed, not added up: neighbouring seeds, steps and ranks share no masks. 63 bits fit the
    # signed integer that seeds are kept in.
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
