"""The short soak, and the arithmetic of what a kill costs."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.soak.losses import Loss, losses
from tests.soak.soak import Options, soak
from tests.soak.verdict import as_table


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_training_that_is_killed_again_and_again_ends_as_if_nothing_had_happened(
    tmp_path: Path,
) -> None:
    lines = soak(tmp_path, Options(minutes=1.5, seed=39))
    Console(width=140).print(as_table(lines, title="what was found"))
    assert [line for line in lines if not line.holds] == []
    assert "SIGKILL: trainer" in [line.what for line in lines]


def life(process: int, *events: str | int) -> list[dict[str, Any]]:
    """Return notes: numbers are steps, s5 is the snapshot of step 5, c5 its commit."""
    names = {"s": "snapshot", "c": "commit"}

    def note(event: str | int) -> dict[str, Any]:
        if isinstance(event, int):
            return {"event": "step", "step": event, "process": process}
        if event == "idle":
            return {"event": event, "step": None, "process": process}
        return {"event": names[event[0]], "step": int(event[1:]), "process": process}

    return [note(event) for event in events]


def test_the_steps_after_the_restored_one_are_lost() -> None:
    notes = [*life(1, 1, 2, "s2", "c2", "idle", 3), *life(2, 3, 4)]
    assert losses(notes) == [Loss(reached=3, restored=2, in_flight=0)]


def test_steps_beside_writing_are_counted_from_the_restored_checkpoint_on() -> None:
    notes = [*life(1, 1, "s1", 2, "c1", "idle", 3, "s3", 4, 5), *life(2, 2, 3)]
    assert losses(notes) == [Loss(reached=5, restored=1, in_flight=3)]


def test_steps_beside_the_removal_of_old_checkpoints_are_steps_beside_writing() -> None:
    notes = [*life(1, 1, "s1", 2, "c1", 3, 4, "idle", 5), *life(2, 2, 3)]
    assert losses(notes) == [Loss(reached=5, restored=1, in_flight=3)]


def test_a_trainer_that_died_before_its_first_step_lost_nothing() -> None:
    notes = [*life(1, 1, 2, "s2", "c2", "idle"), *life(2, "s2"), *life(3, 3)]
    assert losses(notes) == [Loss(reached=2, restored=2, in_flight=0)]


def test_more_than_an_interval_may_be_lost_beside_writing_alone() -> None:
    assert Loss(reached=40, restored=10, in_flight=5).is_within(24)
    assert not Loss(reached=41, restored=10, in_flight=5).is_within(24)
