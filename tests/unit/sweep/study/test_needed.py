"""Probes begin as soon as the checkpoint is there that they score."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from raykd.runs.checkpoint import checkpoint_name
from raykd.storage.published.directory import COMMITTED
from raykd.sweep.record import Record, State, Stop
from raykd.sweep.study.study import Limits

from tests.unit.sweep.study.simulator import evaluation
from tests.unit.sweep.study.studies import (
    finish,
    handed_out,
    probe_of,
    run_of,
    states,
    study_of,
)


def write_checkpoint(run: Record, step: int) -> None:
    checkpoint = Path(run.run_uri, "checkpoints", checkpoint_name(step))
    checkpoint.mkdir(parents=True)
    (checkpoint / COMMITTED).touch()


def probes_of(directory: Path) -> list[Record]:
    """Return a probe of the model after step 10, and one of that at the end."""
    steps = {"early": 10, "late": 40}
    return [probe_of(directory, name, "trial", step=step) for name, step in steps.items()]


@pytest.fixture
def clock() -> Iterator[float]:
    # Far more than the time between two looks for a model.
    return iter(range(0, 10**9, 1000))


def test_a_probe_begins_while_its_trial_goes_on(tmp_path: Path, clock: Iterator[float]) -> None:
    trial = run_of(tmp_path, "trial")
    early, late = (
        probe_of(tmp_path, "early", "trial", step=10),
        probe_of(tmp_path, "late", "trial", step=40),
    )
    limits = Limits(at_once=9, clock=clock.__next__)
    study = study_of(tmp_path, [trial, early, late], limits)
    assert handed_out(study) == ["trial"]
    study.started("trial")
    study.reported("trial", evaluation(0, 4.0))
    assert handed_out(study) == []
    write_checkpoint(trial, 10)
    assert handed_out(study) == ["early"]
    finish(study, "trial")
    assert handed_out(study) == ["late"]


def test_a_probe_of_a_failed_trial_is_blocked(tmp_path: Path, clock: Iterator[float]) -> None:
    trial = run_of(tmp_path, "trial", state=State.FAILED)
    write_checkpoint(trial, 10)
    early, late = (
        probe_of(tmp_path, "early", "trial", step=10),
        probe_of(tmp_path, "late", "trial", step=40),
    )
    study = study_of(tmp_path, [trial, early, late], Limits(at_once=9, clock=clock.__next__))
    assert handed_out(study) == ["early"]
    assert study.records["late"].state is State.BLOCKED


def test_a_trial_that_stops_early_has_no_probe_after_its_rung(
    tmp_path: Path, clock: Iterator[float]
) -> None:
    stop = Stop(rung_tokens=200, step=20, value=3.0)
    trial = run_of(tmp_path, "trial", state=State.STOPPED, stop=stop)
    # How far it went on before it heard of it is another thing on other machines.
    for step in (10, 30):
        write_checkpoint(trial, step)
    steps = {"before": 10, "beyond": 30, "end": 40}
    probes = [probe_of(tmp_path, name, "trial", step=step) for name, step in steps.items()]
    study = study_of(tmp_path, [trial, *probes], Limits(at_once=9, clock=clock.__next__))
    assert handed_out(study) == ["before"]
    assert states(study.records) == {
        "trial": State.STOPPED,
        "before": State.WAITING,
        "beyond": State.STOPPED,
        "end": State.STOPPED,
    }
