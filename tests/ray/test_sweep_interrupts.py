"""A sweep that is asked to end leaves in order, and the next start repeats nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from raykd.sweep.ledger import Ledger, State, read_ledger
from raykd.train.checkpoint import committed_steps
from raykd.train.paths import RunPaths

from tests.ray import sweep_drivers as drivers
from tests.sweep_files import write_runs, write_sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

NUM_STEPS = 200


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Return a sweep of two runs that write no checkpoint before they are asked to leave."""
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
                "checkpoint.every_steps": 10 * NUM_STEPS,
                "checkpoint.keep_best": False,
            },
            "search": {"optimizer.learning_rate": {"grid": [1e-3, 1e-2]}},
        },
    )


def ledger_of(sweep: Path) -> Ledger:
    return read_ledger(str(sweep.parent / "sweeps" / "study"))


def interrupted(sweep: Path, interrupt: Callable[[drivers.Driver], None]) -> None:
    """Start a sweep and end it when it trains."""
    runs = sweep.parent / "runs"
    with drivers.started(sweep) as driver:
        drivers.wait_until(lambda: drivers.num_steps_done(runs) >= 3, driver)
        interrupt(driver)
        assert driver.wait() == 1, drivers.log_of(sweep).read_text()[-5_000:]


def test_after_one_interrupt_the_trials_continue_where_they_left(sweep: Path) -> None:
    interrupted(sweep, drivers.press_ctrl_c)
    told = drivers.log_of(sweep).read_text()
    assert "the same command continues" in told
    # Tune prints nothing of its own.
    assert "Last result" not in told
    left = [record for record in ledger_of(sweep).trials if record.attempts]
    assert left
    assert {record.state for record in ledger_of(sweep).trials} == {State.WAITING}
    steps = {record.id: committed_steps(RunPaths(record.run_uri).checkpoints) for record in left}
    for record in left:
        (attempt,) = record.attempts
        assert (attempt.kind, attempt.error_class) == ("stopped", None)
        assert len(steps[record.id]) == 1
    with drivers.started(sweep) as driver:
        drivers.finish(driver, sweep)
    after = ledger_of(sweep).records
    assert {record.state for record in after.values()} == {State.DONE}
    for run_id, (step,) in steps.items():
        assert [attempt.first_step for attempt in after[run_id].attempts] == [0, step]


def test_after_two_interrupts_the_sweep_ends_at_once(sweep: Path) -> None:
    def interrupt_twice(driver: drivers.Driver) -> None:
        driver.terminate()
        drivers.press_ctrl_c(driver)

    interrupted(sweep, interrupt_twice)
    assert "interrupted; what is finished stays" in drivers.log_of(sweep).read_text()
    trials = ledger_of(sweep).trials
    assert {record.state for record in trials} == {State.WAITING}
    assert all(attempt.kind is None for record in trials for attempt in record.attempts)
