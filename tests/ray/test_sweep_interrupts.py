"""A sweep that is asked to end leaves in order, and the next start repeats nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import RunPaths
from raykd.sweep.record import State

from tests.ray.support import sweep_drivers as drivers
from tests.sweep_files import write_runs, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]

NUM_STEPS = 3000
NUM_RUNS = 2


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Return a sweep of long runs that write no checkpoint until they are asked to leave."""
    return write_sweep(
        write_runs(tmp_path),
        {
            "teachers": {},
            "controls": False,
            "overrides": {
                "losses": {"cross_entropy": {}},
                "teachers": {},
                "train.num_steps": NUM_STEPS,
                "train.eval_every_steps": NUM_STEPS,
                "train.log_every_steps": 1,
                "checkpoint.every_steps": NUM_STEPS,
                "checkpoint.keep_best": False,
            },
            "search": {"optimizer.learning_rate": {"grid": [1e-3, 1e-2]}},
        },
    )


def interrupted(sweep: Path, interrupt: Callable[[drivers.Driver], None]) -> None:
    """Start a sweep and end it when all of its runs train."""
    before = drivers.steps_done(sweep.parent / "runs")

    def all_train() -> bool:
        now = drivers.steps_done(sweep.parent / "runs")
        return len(now) == NUM_RUNS and all(now[run] > before.get(run, 0) for run in now)

    with drivers.started(sweep) as driver:
        drivers.wait_until(all_train, driver)
        interrupt(driver)
        assert driver.wait() == 1, drivers.log_of(sweep).read_text()[-5_000:]


def terminate_and_press_ctrl_c(driver: drivers.Driver) -> None:
    driver.terminate()
    drivers.press_ctrl_c(driver)


def test_trials_end_at_once_at_two_interrupts_and_continue_where_one_left_them(
    sweep: Path,
) -> None:
    interrupted(sweep, drivers.press_ctrl_c)
    told = drivers.log_of(sweep).read_text()
    assert "the same command continues" in told
    # Tune prints nothing of its own.
    assert "Last result" not in told
    left = drivers.ledger_of(sweep).trials
    assert {record.state for record in left} == {State.WAITING}
    steps = {record.id: committed_steps(RunPaths(record.run_uri).checkpoints) for record in left}
    for record in left:
        (attempt,) = record.attempts
        assert (attempt.kind, attempt.error_class) == ("stopped", None)
        assert len(steps[record.id]) == 1

    interrupted(sweep, terminate_and_press_ctrl_c)
    assert "interrupted; what is finished stays" in drivers.log_of(sweep).read_text()
    ended = drivers.ledger_of(sweep).trials
    assert {record.state for record in ended} == {State.WAITING}
    for record in ended:
        _, attempt = record.attempts
        assert [attempt.first_step] == steps[record.id]
        assert attempt.kind is None

    with drivers.started(sweep) as driver:
        drivers.finish(driver, sweep)
    for record in drivers.ledger_of(sweep).trials:
        assert record.state is State.DONE
        (step,) = steps[record.id]
        *earlier, last = [attempt.first_step for attempt in record.attempts]
        assert earlier == [0, step]
        # Though the sweep does not wait for it, a trial may have come to write a checkpoint.
        assert step <= last < NUM_STEPS
