"""Which steps a run is evaluated after."""

import pytest
from raykd.config.schema.train import TrainConfig
from raykd.steps import milestone_steps, next_evaluation


def evaluations(num_steps: int, **train: object) -> list[int]:
    config = TrainConfig(num_steps=num_steps, **train)  # type: ignore[arg-type]
    steps = range(1, num_steps + 1)
    return [step for step in steps if next_evaluation(config, step, num_steps) == step]


@pytest.mark.parametrize(
    ("train", "steps"),
    [
        ({"eval_every_steps": 4}, [4, 8, 10]),
        ({"eval_every_steps": 100}, [10]),
        ({"eval_every_steps": 100, "eval_at": (0.1, 0.5)}, [1, 5, 10]),
        ({"eval_every_steps": 5, "eval_at": (0.25, 0.5, 1.0)}, [3, 5, 10]),
        # Less than one step is the first one.
        ({"eval_every_steps": 100, "eval_at": (0.01,)}, [1, 10]),
    ],
)
def test_evaluations_are_regular_at_fractions_and_last(
    train: dict[str, object], steps: list[int]
) -> None:
    assert evaluations(10, **train) == steps


def test_halves_are_rounded_up() -> None:
    assert milestone_steps((0.5, 0.1), 5) == (3, 1)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.5, float("nan")])
def test_what_is_no_fraction_is_refused(fraction: float) -> None:
    problems = TrainConfig(num_steps=1, eval_at=(fraction,)).problems()
    assert problems == [f"train.eval_at must be in (0, 1], got [{fraction}]"]
