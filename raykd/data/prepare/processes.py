"""Tokenise by processes of this machine."""

import multiprocessing
import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raykd.data.prepare.examples import Recipe
from raykd.data.prepare.parts import (
    Part,
    Piece,
    Submit,
    Work,
    made_part,
    submitted_parts,
    unit_pieces,
)

if TYPE_CHECKING:
    from raykd.data.prepare.inputs import ReadingMeter

_IN_FLIGHT_PER_PROCESS = 3
"""Pieces: one that the process works on, the others so that it never waits for the reader."""


@dataclass(frozen=True, slots=True)
class Processes:
    """So many processes, fed by this one; a single one is this one itself."""

    count: int

    @property
    def are_elsewhere(self) -> bool:
        """They are on this machine."""
        return False

    def parts(self, work: Work, meter: "ReadingMeter") -> Generator[Part]:
        """Yield all parts in order."""
        with _submitting(self.count) as submit:
            yield from submitted_parts(
                _pieces(work, meter),
                work.recipe,
                submit,
                num_in_flight=self.count * _IN_FLIGHT_PER_PROCESS,
            )


def use_one_thread() -> None:
    """Keep the tokenizers library from starting threads in this process."""
    # The only switch that the library has.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # noqa: TID251


def _pieces(work: Work, meter: "ReadingMeter") -> Iterator[Piece]:
    for number, unit in enumerate(work.inputs.units()):
        yield from unit_pieces(work, number, meter.watched(unit.rows(work.options)))


@dataclass(frozen=True, slots=True)
class _Finished:
    part: Part

    def result(self) -> Part:
        return self.part


@contextmanager
def _submitting(num_processes: int) -> Iterator[Submit]:
    """Yield a way to have pieces encoded: by other processes, or by this one."""
    if num_processes == 1:
        yield lambda piece, recipe: _Finished(made_part(piece, recipe))
        return
    # Not fork: Arrow and tokenizers run threads, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, mp_context=context, initializer=use_one_thread)
    try:

        def submit(piece: Piece, recipe: Recipe) -> Future[Part]:
            return pool.submit(made_part, piece, recipe)

        yield submit
    finally:
        pool.shutdown(cancel_futures=True)
