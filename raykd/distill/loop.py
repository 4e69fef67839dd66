"""The training loop, as a generator of finished steps.

Knows nothing of Ray, files or metrics back ends: whoever iterates decides what to do
between two steps. So the same loop runs under Ray Train, in a notebook and in a test.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch.nn.parallel import DistributedDataParallel

from raykd.batch import Batch
from raykd.config.schema.train import OptimizerConfig
from raykd.data.selection import DataState
from raykd.distill.diverged import mean_with, require_sound
from raykd.distill.exchange import counted_by_all, read, told
from raykd.distill.optimizer import Gradients, learning_rate, step_if_sound
from raykd.distill.sharding import data_parallel, is_sharded, synchronised, weights_converted_once
from raykd.distill.step import DistillationStep, StepCounts, StepOutput
from raykd.distill.world import World
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

    recent_loss: float | None = None
    """Exponential mean of the losses of the last steps that scored a position; None before the
    first."""

    num_losses: int = 0
    """Steps that have scored a position: those that the mean is of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepBatches:
    """What one worker trains on in one step."""

    micro_batches: tuple[Batch, ...]
    """At least one, on its device; a worker without rows gets one without scored positions."""

    data: DataState
    """Where the data stands after this step."""

    @property
    def counted(self) -> tuple[int, int]:
        """Scored positions and tokens of this worker."""
        positions = sum(len(batch.positions_P) for batch in self.micro_batches)
        return positions, sum(batch.num_tokens for batch in self.micro_batches)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTotals:
    """What the backward pass of one step adds up on this worker."""

    names: tuple[str, ...]
    """Names of the terms whose weight is not 0, in the order of ``values``."""

    values: torch.Tensor
    """The objective, then each term, unweighted; float64 on the device that computed it."""


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
    """How long this worker waited in the step for batches; no part of what makes two steps
    equal."""

    flags: tuple[int, ...] = field(default=(), compare=False)
    """The largest of each flag over the workers; empty where there is one worker."""


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
    flags: Callable[[], Sequence[int]] = tuple,
) -> Iterator[FinishedStep]:
    """Take optimizer steps until ``num_steps``, yielding after each.

    Args:
        state: Changed by every step.
        objective: Of the run.
        steps: Batches from the state on. Whoever changes ``state.data`` between two steps has
            them go on from there.
        options: Of the run.
        world: Every worker takes part.
        flags: What several workers are to agree on; not asked where there is one.

    Raises:
        DivergedError: On all workers alike, before a bad gradient reaches the weights.
    """
    parallel, gradients = data_parallel(objective, world), Gradients(objective)
    # A spike is seen on the host alone, and DTensors want a flag of their kind.
    is_guarded = (
        options.loss_spike_factor is None
        and state.optimizer.defaults.get("fused", False)
        and not is_sharded(objective)
    )
    following, counted, data = None, (0.0, 0.0), state.data
    while state.step < options.num_steps:
        asked = time.perf_counter()
        # Where the mixture has been changed, what was read ahead is of the one before.
        if following is None or state.data is not data:
            following = next(steps)
            counted = counted_by_all(following.counted, world)
        batches, (positions, tokens) = following, counted
        is_last = state.step + 1 == options.num_steps
        following = None if is_last else next(steps, None)
        data_wait_seconds = time.perf_counter() - asked
        rate = learning_rate(options.optimizer, step=state.step, num_steps=options.num_steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        with weights_converted_once(parallel, world), objective.sharing_cores():
            totals = backward(
                parallel,
                batches,
                step_counts(positions, tokens),
                following,
                step=state.step,
                options=options,
                world=world,
            )
        grad_norm = gradients.clip(options.optimizer.max_grad_norm)
        rows_WN = told(
            torch.cat([totals.values, grad_norm.to(totals.values).reshape(1)]),
            (0, 0) if following is None else following.counted,
            flags() if world.size > 1 else (),
            world,
        )
        if is_guarded:
            step_if_sound(state.optimizer, is_sound=rows_WN.isfinite().all())
        # The one time that the device is waited for.
        said = read(rows_WN, num_terms=len(totals.names))
        # Where it raises, the weights are those of the step before, and become the checkpoint that
        # a replay begins at.
        require_sound(
            step=state.step + 1,
            loss=said.loss,
            grad_norm=said.grad_norm,
            recent_loss=state.recent_loss,
            num_losses=state.num_losses,
            spike_factor=options.loss_spike_factor,
        )
        if not is_guarded:
            state.optimizer.step()
        gradients.zero()
        # Only after the optimizer: a saved state names no step that its weights have not taken.
        state.step, state.data = state.step + 1, batches.data
        state.tokens += round(tokens)
        if positions:
            state.recent_loss = mean_with(said.loss, state.recent_loss)
            state.num_losses += 1
        data, counted = state.data, said.counted
        yield FinishedStep(
            step=state.step,
            loss=said.loss,
            terms=dict(zip(totals.names, said.terms, strict=True)),
            grad_norm=said.grad_norm,
            learning_rate=rate,
            positions=round(positions),
            tokens=round(tokens),
            data_wait_seconds=data_wait_seconds,
            flags=said.flags,
        )


def step_counts(positions: float, tokens: float) -> StepCounts:
    """Return what the sums of a step are divided by: at least 1, so that nothing scored is 0."""
    return StepCounts(positions=max(positions, 1.0), tokens=max(tokens, 1.0))


def backward(  # noqa: PLR0913  all of a step
    parallel: DistillationStep | DistributedDataParallel,
    batches: StepBatches,
    counts: StepCounts,
    following: StepBatches | None = None,
    *,
    step: int,
    options: LoopOptions,
    world: World,
) -> StepTotals:
    """Add the gradient of one step to the parameters; neither clips it nor uses it.

    The gradients of the workers are averaged, hence the factor of the world's size.

    Args:
        parallel: The objective, wrapped where there are several workers.
        batches: This worker's.
        counts: What every worker divides by.
        following: Of the next step, which teachers that run beside the student go on with.
        step: Optimizer steps taken before.
        options: Of the run.
        world: Every worker takes part.
    """
    # Anew in every step: a resumed run draws the same masks, and no generator is saved.
    _seed(_dropout_seed(options.seed, step, world.rank), world.device)
    partial_sums: list[torch.Tensor] = []
    names: tuple[str, ...] = ()
    upcoming = [(batch, step) for batch in batches.micro_batches[1:]]
    if following is not None:
        upcoming.append((following.micro_batches[0], step + 1))
    objective = parallel.module if isinstance(parallel, DistributedDataParallel) else parallel
    for index, batch in enumerate(batches.micro_batches):
        for then, its_step in upcoming[index : index + 1]:
            objective.ask_ahead(then, options.progress(its_step))
        with synchronised(parallel, is_last=index == len(batches.micro_batches) - 1):
            output: StepOutput = parallel(batch, options.progress(step), counts)
            (output.loss * world.size).backward()
        # Weights follow the progress alone: all micro-batches have the same terms.
        names = tuple(output.terms)
        # float64: the sum over micro-batches and workers adds no rounding of its own.
        partial_sums.append(torch.stack([output.loss.detach(), *output.terms.values()]).double())
    return StepTotals(names=names, values=torch.stack(partial_sums).sum(0))


def _seed(seed: int, device: torch.device) -> None:
    # As torch.manual_seed, which would note the stack of its caller for each kind of device that
    # is not there: it takes longer than all else between two steps.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    # Hashed, not added up: neighbouring seeds, steps and ranks share no masks. 63 bits fit the
    # signed integer that seeds are kept in.
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
