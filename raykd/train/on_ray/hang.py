"""Which worker did not come where the others waited for it, and what it was doing.

Every worker tells the others about once a second what it is doing, through the store that the
process group was made with. Where the wait for the others ends, those who waited say so there:
who has not said so is the one that is missing. The first worker serves the store: where that does
not answer, it is the one.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch.distributed.distributed_c10d import Store, _get_default_store

from raykd.distill.world import World
from raykd.errors import HungWorkerError
from raykd.machine.repeating import repeating

_BEAT_SECONDS = 1.0
_GRACE_SECONDS = 5.0
"""For the others to come to the same conclusion."""

_TIMEOUT = re.compile(r"[Tt]im(ed?|ing) ?out")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sign:
    """What a worker said last."""

    beat: int
    doing: str


class Beacon:
    """What this worker tells the others beside the training."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._store: Store = _get_default_store()
        self._doing = "starting"
        self._beat = 0

    def note(self, doing: str) -> None:
        """Remember what this worker does from here on; nothing waits for it to be told."""
        self._doing = doing

    def tell(self) -> None:
        """Tell the others."""
        self._beat += 1
        sign = json.dumps([self._beat, self._doing])
        self._store.set(f"raykd/sign/{self._world.rank}", sign)

    def explained(self, error: RuntimeError) -> Exception:
        """Return what an error of a collective means: a worker is missing, or just the error."""
        # In a thread: a store that does not answer holds who asks for the timeout of a collective.
        answers: list[str] = []
        asking = threading.Thread(
            target=lambda: answers.append(self._missing(str(error))), daemon=True
        )
        asking.start()
        asking.join(2 * _GRACE_SECONDS)
        text = answers[0] if answers else self._silence(str(error))
        return HungWorkerError(text) if text else error

    def _silence(self, complaint: str) -> str:
        """Name the first worker, whose store does not answer, where the wait was too long."""
        if not _TIMEOUT.search(complaint):
            return ""
        return (
            f"worker 0 did not come where worker {self._world.rank} waited for it "
            f"({self._doing}), and does not answer"
        )

    def _missing(self, complaint: str) -> str:
        """Name who is missing; the empty text where this was no wait that took too long."""
        others = [rank for rank in range(self._world.size) if rank != self._world.rank]
        # Before the wait: who goes on beating during it lives, and only does not come.
        before = {rank: self._sign(rank) for rank in others}
        self._store.set(f"raykd/left/{self._world.rank}", complaint)
        deadline = time.monotonic() + _GRACE_SECONDS
        while (missing := [r for r in others if not self._has_left(r)]) and (
            time.monotonic() < deadline
        ):
            time.sleep(_BEAT_SECONDS / 5)
        complaints = [complaint] + [self._complaint(r) for r in others if r not in missing]
        if not missing or not any(_TIMEOUT.search(text) for text in complaints):
            return ""
        names = "; ".join(self._described(rank, before[rank]) for rank in missing)
        return f"{names}. The others waited for it in: {self._doing}"

    def _described(self, rank: int, before: Sign) -> str:
        sign = self._sign(rank)
        state = "its process lives" if sign.beat > before.beat else "its process does not answer"
        return (
            f"worker {rank} did not come where the others waited; it was last at: {sign.doing}, "
            f"and {state}"
        )

    def _sign(self, rank: int) -> Sign:
        key = f"raykd/sign/{rank}"
        # get() waits for a key that is not there; check() does not.
        if not self._store.check([key]):
            return Sign(beat=0, doing="nothing yet")
        beat, doing = json.loads(self._store.get(key))
        return Sign(beat=beat, doing=doing)

    def _has_left(self, rank: int) -> bool:
        return bool(self._store.check([f"raykd/left/{rank}"]))

    def _complaint(self, rank: int) -> str:
        return str(self._store.get(f"raykd/left/{rank}").decode())


@contextmanager
def beacon(world: World) -> Iterator[Callable[[str], None]]:
    """Tell the other workers what this one does while the block runs: yield how to note that.

    Raises:
        HungWorkerError: The block failed because a worker is missing.
    """
    if world.size == 1:
        yield lambda _: None
        return
    own = Beacon(world)
    try:
        # Left before the store is asked: where it does not answer, a beat would wait behind that.
        with repeating(_BEAT_SECONDS, own.tell, name="raykd-beacon"):
            yield own.note
    except RuntimeError as error:
        explained = own.explained(error)
        if explained is error:
            raise
        raise explained from error
