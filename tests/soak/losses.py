"""What each death of a trainer has cost, from the notes of its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

Note = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """Steps that were taken and had to be taken again."""

    reached: int
    """The last step of the trainer that died."""

    restored: int
    """The step that the next one began from."""

    in_flight: int
    """Steps taken while the checkpoints after the restored one were being written, and while
    that one was: those that a periodic checkpoint had to wait for are among them."""

    @property
    def steps(self) -> int:
        """How many."""
        return self.reached - self.restored

    def is_within(self, every_steps: int) -> bool:
        """Tell whether no more is lost than the design allows.

        A checkpoint is due every so many steps. One that is due while the last one is being
        written, and old ones removed, is taken in the step after that has ended. So between the
        restored one and the kill lie one interval, or the steps beside one writing and one more,
        and then those beside the writing that the kill has ended.
        """
        return self.steps <= max(every_steps, 1) + 1 + self.in_flight


def losses(notes: Sequence[Note]) -> list[Loss]:
    """Return what each trainer that was followed by another one has lost.

    Args:
        notes: Of all trainers, in the order of time.
    """
    lives = [list(life) for _, life in groupby(notes, key=lambda note: note["process"])]
    # One that was killed before its first step has lost nothing.
    stepped = [life for life in lives if _steps(life)]
    found = []
    for before, after in pairwise(stepped):
        restored = _steps(after)[0] - 1
        reached = max(_steps(before)[-1], restored)
        found.append(
            Loss(reached=reached, restored=restored, in_flight=_in_flight(before, restored))
        )
    return found


def _steps(life: Sequence[Note]) -> list[int]:
    return [note["step"] for note in life if note["event"] == "step"]


def _in_flight(life: Sequence[Note], restored: int) -> int:
    """Count the steps taken beside writing, from the restored checkpoint's on."""
    count, is_writing = 0, False
    for note in life:
        if note["event"] == "step":
            count += is_writing and note["step"] > restored
        elif note["event"] in ("snapshot", "idle"):
            is_writing = note["event"] == "snapshot"
    return count
