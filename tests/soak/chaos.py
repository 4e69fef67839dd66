"""Who is killed when: SIGKILL of random processes, and outages, at random seeded moments."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tests.soak.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

OUTAGE = "outage"
SERVER = "server"
_OF_STORE = (OUTAGE, SERVER)

_RAY_WORKER = "ray::"

_STEPPED_SHARE = 0.7
"""Share of the events that wait until the trainer has got somewhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How rough it is."""

    seconds_between: tuple[float, float]
    """From one event to the next, drawn evenly."""

    outage_seconds: tuple[float, float]
    """How long nobody reaches the store."""

    down_seconds: float = 3.0
    """How long a killed server is away."""

    spared_share: float = 0.0
    """Part of the time, at its end, in which the store alone suffers: one trainer lives long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """When the next event comes."""

    due: float
    """Of the monotonic clock."""

    needs_step: bool
    """Whether the trainer must have taken a step since its start; else it may be starting."""


class Chaos:
    """Does harm, and remembers what it did."""

    def __init__(self, store: Store, *, pace: Pace, has_workers: bool, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store
        self._pace = pace
        self._random = random.Random(seed)
        self._harms: dict[str, tuple[float, Callable[[int], None]]] = {
            "trainer": (0.55, _kill),
            SERVER: (0.25, self._kill_server),
            OUTAGE: (0.2, self._cut_off),
        }
        if has_workers:
            self._harms["ray worker"] = (0.6, self._kill_worker)
        self._pause = threading.Event()
        self._away_until = 0.0

    def next_moment(self) -> Moment:
        """Draw when the next event comes."""
        seconds = self._random.uniform(*self._pace.seconds_between)
        needs_step = self._random.random() < _STEPPED_SHARE
        return Moment(due=time.monotonic() + seconds, needs_step=needs_step)

    def strike(self, process_id: int, *, spares_trainer: bool) -> None:
        """Do one harm to the trainer, its workers or its store, and wait until that is over."""
        names = [name for name in self._harms if name in _OF_STORE or not spares_trainer]
        (name,) = self._random.choices(names, [self._harms[name][0] for name in names])
        self.counts[name if name == OUTAGE else f"SIGKILL: {name}"] += 1
        self._harms[name][1](process_id)

    def was_away(self, *, seconds: float) -> bool:
        """Tell whether the store was out of reach in the last seconds."""
        return time.monotonic() < self._away_until + seconds

    def _kill_server(self, _: int) -> None:
        self._store.server.kill()
        self._pause.wait(self._random.uniform(0, self._pace.down_seconds))
        self._store.server.restart()
        self._away_until = time.monotonic()

    def _cut_off(self, _: int) -> None:
        with self._store.proxy.outage():
            self._pause.wait(self._random.uniform(*self._pace.outage_seconds))
        self._away_until = time.monotonic()

    def _kill_worker(self, process_id: int) -> None:
        children = psutil.Process(process_id).children(recursive=True)
        workers = [child for child in children if _RAY_WORKER in " ".join(child.cmdline())]
        if workers:
            self._random.choice(workers).kill()


def _kill(process_id: int) -> None:
    psutil.Process(process_id).kill()
