"""A step whose numbers are not finite, or whose loss is a spike, does not change the weights."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import reduce
from itertools import islice
from pathlib import Path

import pytest
import torch
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.diverged import mean_with, require_sound
from raykd.distill.loop import FinishedStep, training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import LossSpikeError, NonFiniteLossError

from tests.prepared import write_prepared
from tests.small_runs import small_data, small_run


@pytest.mark.parametrize(
    ("loss", "grad_norm"),
    [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf), (-math.inf, 1.0)],
)
def test_what_is_not_finite_stops_at_any_step(loss: float, grad_norm: float) -> None:
    with pytest.raises(NonFiniteLossError, match=r"still those of step 0\.") as raised:
        require_sound(
            step=1,
            loss=loss,
            grad_norm=grad_norm,
            recent_loss=None,
            num_losses=0,
            spike_factor=None,
        )
    assert f"the loss is {loss} and the gradient norm {grad_norm}" in str(raised.value)


@pytest.mark.parametrize(
    ("num_losses", "loss", "recent_loss", "spike_factor", "is_spike"),
    [
        (10, 6.1, 2.0, 3.0, True),
        (10, 6.0, 2.0, 3.0, False),
        (9, 6.1, 2.0, 3.0, False),
        (0, 6.1, None, 3.0, False),
        (11, 1e9, 2.0, None, False),
        (500, 0.5, 0.1, 3.0, True),
    ],
)
def test_a_spike_is_above_the_factor_and_past_the_first_losses(
    num_losses: int,
    loss: float,
    recent_loss: float | None,
    spike_factor: float | None,
    *,
    is_spike: bool,
) -> None:
    with pytest.raises(LossSpikeError) if is_spike else nullcontext():
        require_sound(
            step=500,
            loss=loss,
            grad_norm=1.0,
            recent_loss=recent_loss,
            num_losses=num_losses,
            spike_factor=spike_factor,
        )


def test_the_mean_forgets_a_tenth_with_every_loss() -> None:
    assert mean_with(4.0, None) == 4.0
    losses = [4.0, 2.0, 1.0]
    mean = reduce(lambda mean, loss: mean_with(loss, mean), losses[1:], losses[0])
    assert mean == pytest.approx(4 * 0.81 + 2 * 0.09 + 1 * 0.1)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diverged")
    small_data(path / "data")
    return path


def jumping_run(directory: Path, weight: str, *, factor: float | None) -> RunConfig:
    return small_run(
        directory,
        losses={"cross_entropy": {"weight": weight}},
        train__num_steps=24,
        train__loss_spike_factor=factor,
        optimizer__learning_rate=1e-6,
    )


def steps_of(run: Distillation) -> Iterator[FinishedStep]:
    return training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )


def test_a_spike_stops_before_the_weights_and_the_mean_change(directory: Path) -> None:
    run = assemble(
        read_setup(jumping_run(directory, "1 @ 0.5 -> 5 @ 0.5", factor=3)), world=World()
    )
    steps = steps_of(run)
    losses = [step.loss for step in islice(steps, 12)]
    before = [parameter.detach().clone() for parameter in run.student.parameters()]
    with pytest.raises(LossSpikeError, match=r"step 13: the loss is .*those of step 12"):
        next(steps)
    assert (run.state.step, run.state.data.step) == (12, 12)
    assert run.state.recent_loss == reduce(lambda m, x: mean_with(x, m), losses[1:], losses[0])
    assert all(map(torch.equal, run.student.parameters(), before))


@pytest.mark.parametrize(
    ("weight", "factor"),
    [("1 @ 0.5 -> 5 @ 0.5", None), ("1 @ 0.5 -> 5 @ 0.5", 6), ("1 @ 0.2 -> 5 @ 0.2", 3)],
    ids=["not asked for", "below the factor", "in the first steps"],
)
def test_a_jump_that_is_no_spike_stops_nothing(
    directory: Path, weight: str, factor: float | None
) -> None:
    run = assemble(read_setup(jumping_run(directory, weight, factor=factor)), world=World())
    losses = [step.loss for step in steps_of(run)]
    assert len(losses) == 24
    assert losses[-1] > 3 * losses[0]


def test_a_step_that_scores_nothing_is_no_loss_of_0(tmp_path: Path) -> None:
    write_prepared(tmp_path / "data", {"train": {"de": [40]}, "validation": {"de": [4]}})
    config = small_run(
        tmp_path,
        train__num_steps=40,
        train__global_batch_size=1,
        train__micro_batch_size=1,
        train__loss_spike_factor=3,
        data__masking={"fraction": 0.1},
    )
    run = assemble(read_setup(config), world=World())
    steps = list(steps_of(run))
    scored = [step.loss for step in steps if step.positions]
    assert 0 < len(scored) < 40
    assert [step.loss for step in steps if not step.positions] == [0] * (40 - len(scored))
    assert run.state.num_losses == len(scored)
    assert run.state.recent_loss == reduce(lambda m, x: mean_with(x, m), scored[1:], scored[0])
