"""Whether a step may change the weights: by its own numbers and the mean of losses before it.

Pure functions of floats that are alike on all workers, so all workers decide alike.
"""

import math

from raykd.errors import LossSpikeError, NonFiniteLossError

_MEAN_DECAY = 0.9
"""Weight of the mean so far in the mean of recent losses: about the last ten steps count."""

_LOSSES_BEFORE_SPIKES = 10
"""The mean of fewer says little, so that nothing is called a spike by it."""


def mean_with(loss: float, recent_loss: float | None) -> float:
    """Return the exponential mean of recent losses with one more; None is of no losses."""
    # It begins at the first loss, so no start at 0 has to be corrected for.
    if recent_loss is None:
        return loss
    return _MEAN_DECAY * recent_loss + (1 - _MEAN_DECAY) * loss


def require_sound(
    *,
    step: int,
    loss: float,
    grad_norm: float,
    recent_loss: float | None,
    num_losses: int,
    spike_factor: float | None,
) -> None:
    """Refuse a step that must not change the weights.

    Args:
        step: Counted from 1.
        loss: Of the step.
        grad_norm: Global L2 norm of its gradient.
        recent_loss: ``mean_with`` of the losses before; None before the first.
        num_losses: How many those are.
        spike_factor: Loss over that mean from which on a step is a spike; None is never.

    Raises:
        NonFiniteLossError: The loss or the norm is NaN or infinite.
        LossSpikeError: The loss is a spike.
    """
    kept = f"The weights are still those of step {step - 1}."
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        message = (
            f"step {step}: the loss is {loss} and the gradient norm {grad_norm}. {kept} Lower "
            "optimizer.learning_rate, raise optimizer.warmup_fraction, or set "
            "train.precision=float32."
        )
        raise NonFiniteLossError(message)
    if spike_factor is None or recent_loss is None or num_losses < _LOSSES_BEFORE_SPIKES:
        return
    if loss > spike_factor * recent_loss:
        message = (
            f"step {step}: the loss is {loss:.6g}, more than train.loss_spike_factor="
            f"{spike_factor:g} times the mean of recent losses, {recent_loss:.6g}. {kept} Lower "
            "optimizer.learning_rate, mend or remove the rows, or raise the factor."
        )
        raise LossSpikeError(message)
