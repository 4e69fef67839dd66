"""What one step of a run does, in detail: its loss, its gradients, and each of its rows.

The backward pass is that of the training loop, bit by bit; the weights stay as they are.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from raykd.batch import IntArray, Rows
from raykd.distill.distillation import Distillation
from raykd.distill.diverged import require_sound
from raykd.distill.loop import backward, step_counts
from raykd.errors import DivergedError, NonFiniteLossError
from raykd.scores import first_unsound


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientReport:
    """The gradient of one parameter."""

    name: str
    norm: float
    """L2 norm before clipping."""

    num_values: int
    num_not_finite: int
    """How many of the values are NaN or infinite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowReport:
    """One row, alone, with dropout off."""

    row_id: int
    language: str
    tokens: int
    loss: float
    """The objective, as if the row were the whole step."""

    grad_norm: float
    """Global L2 norm of the gradient of that loss."""

    text: str
    """As the tokenizer decodes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What one step does."""

    step: int
    loss: float
    terms: dict[str, float]
    """Unweighted."""

    grad_norm: float
    """Global L2 norm of the gradient before clipping."""

    error: DivergedError | None
    """Why training stops before this step changes the weights; None where it does not."""

    gradients: tuple[GradientReport, ...]
    """Those that are not finite first, then the largest."""

    rows: tuple[RowReport, ...]
    """Rows of all workers; those that are not finite first, then by falling loss."""


def report_next_step(run: Distillation, *, decode: Callable[[IntArray], str]) -> StepReport:
    """Take the backward pass of a run's next step, and no step.

    Args:
        run: In one process; its gradients are gone afterwards, all else is as before.
        decode: From the tokens of a row to its text.
    """
    steps = run.steps()
    batches = next(steps)
    # Ends the thread that reads ahead.
    steps.restart()
    run.objective.zero_grad(set_to_none=True)
    totals = backward(
        run.objective,
        batches,
        step_counts(*batches.counted),
        step=run.state.step,
        options=run.loop_options,
        world=run.world,
    )
    loss, *terms = totals.values.tolist()
    grad_norm = _grad_norm(run.objective)
    return StepReport(
        step=run.state.step + 1,
        loss=loss,
        terms=dict(zip(totals.names, terms, strict=True)),
        grad_norm=grad_norm,
        error=_error_of(run, loss=loss, grad_norm=grad_norm),
        gradients=_gradients(run.objective),
        rows=_row_reports(run, run.next_rows(), decode),
    )


def _error_of(run: Distillation, *, loss: float, grad_norm: float) -> DivergedError | None:
    try:
        require_sound(
            step=run.state.step + 1,
            loss=loss,
            grad_norm=grad_norm,
            recent_loss=run.state.recent_loss,
            num_losses=run.state.num_losses,
            spike_factor=run.loop_options.loss_spike_factor,
        )
    except DivergedError as error:
        return with_cause(error, run)
    return None


def with_cause(error: DivergedError, run: Distillation) -> DivergedError:
    """Return the error that names the teacher where it is one who makes the loss no number.

    Args:
        error: Of the run's next step.
        run: Still as it was before the step.
    """
    if not isinstance(error, NonFiniteLossError) or (unsound := _unsound_signal(run)) is None:
        return error
    name, row_id = unsound
    message = (
        f"step {run.state.step + 1}: the loss is no finite number, because teacher {name} says "
        f"NaN or infinity about the row with the id {row_id}. The weights are still those of step "
        f"{run.state.step}. Set teachers.{name}.dtype=float32 if it is narrower, remove the row, "
        "or take another teacher."
    )
    return NonFiniteLossError(message)


@torch.no_grad()
def _unsound_signal(run: Distillation) -> tuple[str, int] | None:
    """Return a teacher that says no finite numbers about a row of the next step, and the row."""
    for rows in run.next_rows().split(run.config.train.micro_batch_size):
        batch = run.task.collate(rows).to(run.world.device)
        for signal in run.objective.signals(batch):
            asked = signal.batch
            position = first_unsound(signal.outputs.scores, asked.labels_P)
            if position is not None:
                return signal.name, int(asked.row_ids_B[asked.examples_P[position]])
    return None


def _grad_norm(module: torch.nn.Module) -> float:
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def _gradients(module: torch.nn.Module) -> tuple[GradientReport, ...]:
    reports = [
        GradientReport(
            name=name.removeprefix("student.model."),
            norm=float(parameter.grad.norm()),
            num_values=parameter.numel(),
            num_not_finite=int((~parameter.grad.isfinite()).sum()),
        )
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    ]
    return tuple(sorted(reports, key=lambda report: _worst_first(report.norm)))


def _row_reports(
    run: Distillation, rows: Rows, decode: Callable[[IntArray], str]
) -> tuple[RowReport, ...]:
    was_training = run.objective.training
    # Dropout off: rows can be compared with each other, though not summed to the step's loss.
    run.objective.eval()
    reports = [_row_report(run, row, decode) for row in _one_by_one(rows)]
    run.objective.zero_grad(set_to_none=True)
    run.objective.train(was_training)
    return tuple(
        sorted(reports, key=lambda row: (_worst_first(row.loss), _worst_first(row.grad_norm)))
    )


def _one_by_one(rows: Rows) -> Iterable[Rows]:
    return (rows.take(np.array([index])) for index in range(len(rows)))


def _row_report(run: Distillation, row: Rows, decode: Callable[[IntArray], str]) -> RowReport:
    batch = run.task.collate(row).to(run.world.device)
    counts = step_counts(len(batch.positions_P), batch.num_tokens)
    run.objective.zero_grad(set_to_none=True)
    output = run.objective(batch, run.loop_options.progress(run.state.step), counts)
    output.loss.backward()
    return RowReport(
        row_id=int(row.row_ids_B[0]),
        language=run.setup.manifest.languages[int(row.languages_B[0])],
        tokens=int(row.lengths_B[0]),
        loss=float(output.loss.detach()),
        grad_norm=_grad_norm(run.objective),
        text=decode(row.token_ids_T),
    )


def _worst_first(value: float) -> tuple[bool, float]:
    """Order what is not finite before all else, then the largest."""
    return (True, -value) if math.isfinite(value) else (False, 0.0)
