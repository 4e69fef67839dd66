"""Which steps of a run something is due after: fractions of all steps, and every so many."""

import math

from raykd.config.schema.train import TrainConfig


def milestone_steps(milestones: tuple[float, ...], num_steps: int) -> tuple[int, ...]:
    """Return the steps of the milestones, given as fractions of the run."""
    # Not round, which takes halves to the even neighbour: 0.5 of 5 steps would be step 2.
    return tuple(max(1, math.floor(fraction * num_steps + 0.5)) for fraction in milestones)


def next_evaluation(train: TrainConfig, step: int, num_steps: int) -> int:
    """Return the first step, this one or a later one, after which a run is evaluated.

    Args:
        train: Of the run.
        step: From 1 to num_steps.
        num_steps: Of the whole run, whose last one is always evaluated.
    """
    regular = math.ceil(step / train.eval_every_steps) * train.eval_every_steps
    early = milestone_steps(train.eval_at, num_steps)
    return min(regular, num_steps, *(other for other in early if other >= step))
