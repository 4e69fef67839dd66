"""Runs of one process take turns: one trains at a time, and pauses where another may go on.

So they can share what costs much, such as a teacher, and each does what it does alone: seeds and
other settings of the process are its own while it has its turn, and those of a thread always are.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

import torch

T = TypeVar("T")

Pause = Callable[[], None]
"""Gives the turn away; returns when the run has its next one."""


def round_robin(runs: Mapping[str, Callable[[Pause], T]]) -> Iterator[tuple[str, T]]:
    """Let runs go on in their order, again and again; yield each that ends, and what it returns.

    What a run raises is raised here, and the others stay where they are.
    """
    waiting = deque((name, _RunThread(name, run)) for name, run in runs.items())
    while waiting:
        name, thread = waiting.popleft()
        thread.take_turn()
        if thread.end.done():
            yield name, thread.end.result()
        else:
            waiting.append((name, thread))


class _RunThread(Generic[T]):
    """A run in a thread that goes on in its turns only."""

    def __init__(self, name: str, run: Callable[[Pause], T]) -> None:
        self.end: Future[T] = Future()
        self._run = run
        self._has_turn, self._has_paused = threading.Semaphore(0), threading.Semaphore(0)
        self._num_threads = torch.get_num_threads()
        # A daemon: where this process is to end, nobody gives it its next turn.
        threading.Thread(target=self._train, name=f"raykd-{name}", daemon=True).start()

    def take_turn(self) -> None:
        """Have it go on until it pauses or ends."""
        self._has_turn.release()
        self._has_paused.acquire()

    def _train(self) -> None:
        self._has_turn.acquire()
        # MKL keeps this number for each thread: in a new one, products would take all cores.
        torch.set_num_threads(self._num_threads)
        try:
            self.end.set_result(self._run(self._pause))
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            self.end.set_exception(error)
        finally:
            self._has_paused.release()

    def _pause(self) -> None:
        self._has_paused.release()
        self._has_turn.acquire()
