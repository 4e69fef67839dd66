"""AdamW and its learning rate, a pure function of the step."""

import math

import torch

from raykd.config.schema.train import OptimizerConfig


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
