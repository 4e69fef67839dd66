"""AdamW, what it is given, and its learning rate, a pure function of the step."""

import math

import torch

from raykd.config.schema.train import OptimizerConfig
from raykd.models.gradients.embeddings import RowEmbedding
from raykd.models.shards import full_tensor

_NORM_EPSILON = 1e-6
"""Added to the norm that torch's clipping divides by."""


def build_optimizer(model: torch.nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over the model's trainable parameters; vectors (biases, norms) do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Fused: one kernel for many tensors, on CPUs too; steps of small models are mostly overhead.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def step_if_sound(optimizer: torch.optim.Optimizer, *, is_sound: torch.Tensor) -> None:
    """Take a step, or leave weights, moments and counts as they are; nothing waits for a device.

    Args:
        optimizer: Fused.
        is_sound: A boolean on the device, scalar.
    """
    # What torch's GradScaler sets: the kernel reads it where it computes.
    optimizer.found_inf = (~is_sound).float()  # type: ignore[attr-defined]
    optimizer.step()


def learning_rate(config: OptimizerConfig, *, step: int, num_steps: int) -> float:
    """Return the learning rate of a step.

    It rises linearly over the first ``warmup_fraction`` of the steps and then follows
    ``schedule``; the last step's is just above zero unless the schedule is constant.

    Args:
        config: Peak, warm-up and shape.
        step: Steps taken before this one, from 0.
        num_steps: Steps of the whole run.
    """
    warmup_steps = math.ceil(config.warmup_fraction * num_steps)
    if step < warmup_steps:
        # Not from 0: the first step would change nothing.
        return config.learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(num_steps - warmup_steps, 1)
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "linear":
        return config.learning_rate * (1 - progress)
    return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2


class Gradients:
    """The gradients of what an objective learns: clipped before a step, forgotten after it."""

    def __init__(self, objective: torch.nn.Module) -> None:
        """Find the tables that may have a gradient in the rows of a step alone."""
        self._parameters = list(objective.parameters())
        self._tables = [
            module
            for module in objective.modules()
            if isinstance(module, RowEmbedding) and module.rows is not None
        ]

    @torch.no_grad()
    def clip(self, max_norm: float) -> torch.Tensor:
        """Clip to a global L2 norm; return what it was before."""
        others = self._others()
        rows = [(table, *table.row_gradients()) for table in self._tables if table.rows]
        gradients = [p.grad for p in others if p.grad is not None]
        gradients += [gradient_RD for _, _, gradient_RD in rows]
        # Of a sharded student it is a DTensor, which the workers add up here.
        norm = full_tensor(torch.nn.utils.get_total_norm(gradients))
        coefficient = (max_norm / (norm + _NORM_EPSILON)).clamp(max=1.0)
        # Times 1 changes nothing; a GPU would have to be waited for to know.
        if norm.device.type != "cpu" or coefficient != 1.0:
            torch.nn.utils.clip_grads_with_norm_(others, max_norm, norm)
            for table, rows_R, gradient_RD in rows:
                table.set_row_gradients(rows_R, gradient_RD * coefficient)
        return norm

    def zero(self) -> None:
        """Let gradients go; a table's stays, zero everywhere, as large as it has to be again."""
        for parameter in self._others():
            parameter.grad = None
        for table in self._tables:
            table.zero_rows()

    def _others(self) -> list[torch.nn.Parameter]:
        """Return all but the tables of which rows were read in this step.

        A table that is read in another way has a gradient as usual: DeBERTa takes its relative
        positions from the weight itself.
        """
        by_rows = {id(table.weight) for table in self._tables if table.rows}
        return [p for p in self._parameters if id(p) not in by_rows]
