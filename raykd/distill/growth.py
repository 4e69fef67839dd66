"""Learn how a source model grows into the student, before the student itself is trained.

Plain torch, as the training loop: whoever calls it brings the batches.
"""

import logging
from collections.abc import Iterable, Mapping

import torch
from torch.nn import functional as F

from raykd.batch import Batch
from raykd.errors import NonFiniteLossError
from raykd.init.ligo import GrowthOperator
from raykd.losses.softened import widened
from raykd.models.scored import ScoredModel

logger = logging.getLogger(__name__)


def learn_growth(
    operator: GrowthOperator,
    student: ScoredModel,
    batches: Iterable[Batch],
    *,
    num_steps: int,
    learning_rate: float,
) -> None:
    """Train a growth operator by the student's own objective; nothing else changes.

    Every step grows the source into the student's weights, takes the mean cross entropy at the
    scored positions of one batch, and takes one step of Adam on the operator. As in LiGO (Wang
    et al., ICLR 2023), where about 100 steps do, the source is frozen; that dropout is off is
    ours. So the result depends on the operator and the batches alone.

    Args:
        operator: Grows into models like the student; trained in place.
        student: Says what the grown weights are worth; its own weights stay as they are.
        batches: One is taken for each step, on the operator's device.
        num_steps: May be 0: the operator stays as it starts.
        learning_rate: Of Adam, constant.

    Raises:
        ValueError: There are fewer batches than steps.
        NonFiniteLossError: The learning rate is too high, or the source is not finite.
    """
    optimizer = torch.optim.Adam(operator.parameters(), lr=learning_rate)
    remaining = iter(batches)
    losses = []
    was_training = student.training
    student.eval()
    try:
        for step in range(num_steps):
            if (batch := next(remaining, None)) is None:
                message = f"learning to grow takes {num_steps} batches, but got {step}"
                raise ValueError(message)
            loss = grown_loss(operator(), student, batch)
            # Before the step: one NaN would stay in every weight of the operator.
            losses.append(_finite(loss, step=step, learning_rate=learning_rate))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        student.train(was_training)
    if losses:
        logger.info("growth: loss %.4f -> %.4f in %d steps", losses[0], losses[-1], num_steps)


def grown_loss(
    state: Mapping[str, torch.Tensor], student: ScoredModel, batch: Batch
) -> torch.Tensor:
    """Return the mean cross entropy of a student that has other weights, a scalar in nats.

    Args:
        state: Every distinct tensor of the student's transformers model, by name; gradients
            flow into it. What the model ties stays tied.
        student: Its own weights are neither read nor changed.
        batch: With at least one scored position.
    """
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    outputs = torch.func.functional_call(student, named, (batch,))
    return F.cross_entropy(widened(outputs.logits_PK), batch.labels_P)


def _finite(loss: torch.Tensor, *, step: int, learning_rate: float) -> float:
    value = float(loss.detach())
    if torch.isfinite(loss):
        return value
    message = (
        f"learning to grow: the loss is {value} in step {step}; lower "
        f"student.init.ligo.learning_rate ({learning_rate}) or use another source"
    )
    raise NonFiniteLossError(message)
