"""Teachers that run beside the student: asked about a batch before the student comes to it."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from raykd.batch import Batch, LayersWanted
from raykd.teachers.ensemble import TeacherEnsemble, TeacherSignal

Wanted = Mapping[str, LayersWanted]
"""Teacher to the layers that are compared with the student's."""

_Answer = tuple[tuple[TeacherSignal, ...], torch.cuda.Event | None]
"""What the teachers say, and, on a GPU, when it will be there."""


class OverlappedEnsemble:
    """Asks an ensemble on a thread of its own and, on a GPU, in a stream of its own.

    What it says is what the ensemble says: teachers draw no random numbers.
    """

    def __init__(self, ensemble: TeacherEnsemble, *, device: torch.device) -> None:
        """Ask nothing yet.

        Args:
            ensemble: Not asked by anyone else in a step.
            device: Of the batches.
        """
        self._ensemble = ensemble
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        # OpenMP and MKL keep their number of threads for each thread of Python.
        self._num_threads = max(torch.get_num_threads() // 2, 1)
        self._thread = ThreadPoolExecutor(
            1,
            thread_name_prefix="raykd-teacher",
            initializer=torch.set_num_threads,
            initargs=(self._num_threads,),
        )
        self._asked: deque[_Question] = deque()
        self._last_said: tuple[TeacherSignal, ...] = ()

    @contextmanager
    def sharing_cores(self) -> Iterator[None]:
        """Leave the teachers' thread its half of the cores while the block runs."""
        num_threads = torch.get_num_threads()
        torch.set_num_threads(max(num_threads - self._num_threads, 1))
        try:
            yield
        finally:
            torch.set_num_threads(num_threads)

    def ask(self, batch: Batch, wanted: Wanted) -> None:
        """Have the teachers begin with a batch, after those that they have been asked about."""
        self._asked.append(self._question(batch, wanted))

    def __call__(self, batch: Batch, wanted: Wanted) -> tuple[TeacherSignal, ...]:
        """Return what the teachers say about a batch, whether it has been asked about or not.

        Raises:
            Exception: What asking about this batch raised.
        """
        if not any(question.is_about(batch, wanted) for question in self._asked):
            # As of the first step. On the thread, too: it is the one that asks.
            self._asked.appendleft(self._question(batch, wanted))
        while not self._asked[0].is_about(batch, wanted):
            # Of a mixture that has been changed since.
            stale = self._asked.popleft().answer
            if stale.exception() is None and (is_read := stale.result()[1]) is not None:
                # Its batch is let go of here, and its memory is not for others before that.
                torch.cuda.current_stream().wait_event(is_read)
        said, is_there = self._asked.popleft().answer.result()
        if is_there is not None:
            torch.cuda.current_stream().wait_event(is_there)
            # What was said last is let go of only here: its memory is the other stream's, which
            # would write there while the student still reads.
            self._last_said = said
        return said

    def served(self, batch: Batch) -> tuple[TeacherSignal, ...]:
        """Return what every teacher says about the rows of all languages that it serves."""
        # In this thread, which has all cores outside a step; but not beside the other.
        wait([question.answer for question in self._asked])
        return self._ensemble.served(batch)

    def _question(self, batch: Batch, wanted: Wanted) -> "_Question":
        # On a GPU not before what is asked of it so far: the batch has arrived by then, and
        # nobody reads any more what has been let go of.
        ready = None if self._stream is None else torch.cuda.current_stream().record_event()
        answer = self._thread.submit(self._answer, batch, wanted, ready)
        return _Question(batch=batch, wanted=wanted, answer=answer)

    def _answer(self, batch: Batch, wanted: Wanted, ready: torch.cuda.Event | None) -> _Answer:
        if self._stream is None or ready is None:
            return self._ensemble(batch, wanted), None
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(ready)
            return self._ensemble(batch, wanted), self._stream.record_event()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """What the teachers have been asked."""

    batch: Batch
    wanted: Wanted
    answer: Future[_Answer]

    def is_about(self, batch: Batch, wanted: Wanted) -> bool:
        """Tell whether this is what is asked for."""
        return self.batch is batch and self.wanted == wanted
