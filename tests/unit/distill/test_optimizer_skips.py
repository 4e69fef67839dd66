"""A step that must not change anything is skipped where it would be computed."""

import math
from typing import Any

import pytest
import torch
from raykd.config.schema.train import OptimizerConfig
from raykd.distill.optimizer import build_optimizer, step_if_sound


def optimised(gradients: list[float], *, guarded: bool) -> list[dict[str, Any]]:
    """Return weights and optimizer state after steps with these gradients, each of all weights."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = build_optimizer(model, OptimizerConfig())
    for value in gradients:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value)
        if guarded:
            step_if_sound(optimizer, is_sound=torch.tensor(math.isfinite(value)))
        else:
            optimizer.step()
    return [{"weight": p.detach(), **optimizer.state[p]} for p in model.parameters()]


@pytest.mark.parametrize("unsound", [math.nan, math.inf])
def test_an_unsound_step_leaves_weights_moments_and_counts_to_the_bit(unsound: float) -> None:
    sound = optimised([1.0, -2.0, 0.5], guarded=False)
    skipped = optimised([unsound, 1.0, -2.0, unsound, unsound, 0.5, unsound], guarded=True)
    for kept, found in zip(sound, skipped, strict=True):
        assert kept.keys() == found.keys() == {"weight", "step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(kept[name], found[name]) for name in kept)
        assert kept["step"] == 3
