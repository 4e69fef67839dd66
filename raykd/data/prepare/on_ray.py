"""Tokenise on a Ray cluster: each unit of the input is read by one task, which feeds others.

The tasks find the input by its URIs and write the parts to the work directory. One that dies with
its process or its machine is started again, and finds the parts that are finished.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ray.exceptions import RayError, RayTaskError

import ray
from ray import ObjectRef, ObjectRefGenerator
from raykd.data.prepare.examples import Recipe
from raykd.data.prepare.parts import Part, Piece, Work, made_part, submitted_parts, unit_pieces
from raykd.data.prepare.processes import use_one_thread
from raykd.errors import WorkersFailedError
from raykd.storage import uris

if TYPE_CHECKING:
    from raykd.data.prepare.inputs import Inputs, ReadingMeter
    from raykd.data.prepare.sources import SourceFile

_RETRIES = 10
"""Times that Ray starts a task anew whose process or machine dies."""

_CORES_PER_READER = 16
"""A reader gives about that many tokenisers enough to do: a guess from one run, 24 MB/s to 1.3."""

_IN_FLIGHT_PER_READER = 2 * _CORES_PER_READER
"""Pieces: one that each core works on, and one that waits for it."""


def ray_parts(work: Work, meter: "ReadingMeter") -> Generator[Part]:
    """Yield all parts as they are finished, by the Ray that this process is connected to.

    Raises:
        WorkersFailedError: Ray's retries are spent.
    """
    waiting = enumerate(work.inputs.units())
    running: dict[ObjectRefGenerator, Inputs] = {}
    try:
        while _fill(running, waiting, work):
            (reader,), _ = ray.wait(list(running), num_returns=1)
            if (part := _next_part(reader)) is not None:
                yield part
            else:
                meter.count(running.pop(reader).files)
    finally:
        for reader in running:
            # Without force a KeyboardInterrupt is raised, which no native code notices.
            ray.cancel(reader, force=True)


def _fill(
    running: "dict[ObjectRefGenerator, Inputs]",
    waiting: "Iterator[tuple[int, Inputs]]",
    work: Work,
) -> int:
    """Start as many readers as the cluster, as it is now, can use; return how many run."""
    # Asked each time: an autoscaler may have added machines.
    cores = ray.cluster_resources().get("CPU", 0.0)
    while len(running) < 1 + cores // _CORES_PER_READER:
        if (numbered := next(waiting, None)) is None:
            break
        number, unit = numbered
        files = tuple(map(_anywhere, unit.files))
        task = replace(work, inputs=replace(unit, files=files))
        running[_READING.remote(task, number)] = unit
    return len(running)


def _anywhere(file: "SourceFile") -> "SourceFile":
    """Name a file so that the working directory does not matter; Hub data sets have no path."""
    is_file = file.format is not None
    return replace(file, uri=uris.absolute(file.uri)) if is_file else file


def _next_part(reader: ObjectRefGenerator) -> Part | None:
    """Return the next part of a unit; None where there is none."""
    try:
        return _TaskResult(next(reader)).result()
    except StopIteration:
        return None


def _read_unit(work: Work, number: int) -> Iterator[Part]:
    """Yield the parts of a unit, which is all the inputs of this work."""
    # Ray runs the generator of a dead worker again, and counts on as many results as the first
    # time (ray issue 39109): the pieces depend on the input alone.
    pieces = unit_pieces(work, number, work.inputs.rows(work.options))
    yield from submitted_parts(pieces, work.recipe, _submit, num_in_flight=_IN_FLIGHT_PER_READER)


def _tokenise(piece: Piece, recipe: Recipe) -> Part:
    use_one_thread()
    return made_part(piece, recipe)


@dataclass(frozen=True, slots=True)
class _TaskResult:
    reference: ObjectRef

    def result(self) -> Part:
        """Wait for the part; an error in the task arrives as one in this process would."""
        try:
            part: Part = ray.get(self.reference)
        except RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        except RayError as error:
            message = (
                f"tokenising on Ray failed {_RETRIES + 1} times: "
                f"{type(error).__name__}: {' '.join(str(error).split())}; the same command "
                "goes on with what is finished"
            )
            raise WorkersFailedError(message) from error
        return part


def _submit(piece: Piece, recipe: Recipe) -> _TaskResult:
    return _TaskResult(_TOKENISING.remote(piece, recipe))


# Readers wait for tokenisers most of the time, and must never keep their cores from them.
_READING = ray.remote(num_cpus=0, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_read_unit)
_TOKENISING = ray.remote(num_cpus=1, max_retries=_RETRIES)(_tokenise)
