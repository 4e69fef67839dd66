"""The models of a study: how large each architecture is, and what training and using it takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raykd.errors import PublicationError, StorageError
from raykd.report.cost import reserved_seconds, seconds, trained_tokens
from raykd.report.efficiency.latencies import LATENCIES, Latency, comparable, tokens_of_row
from raykd.storage import uris
from raykd.storage.published import layout
from raykd.storage.published.directory import read_published
from raykd.storage.remote.retry_limit import COMMAND_SECONDS
from raykd.sweep.grid.coordinates import stage_label
from raykd.sweep.model_size import ModelSize
from raykd.sweep.record import Record, State

_MOST_NAMES = 3
_BUSY_LOAD = 1.0
"""Above it, other work has taken cores from what was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """One architecture, and the runs of the study that train it; probes are left out."""

    names: tuple[str, ...]
    """What it serves as, such as ``student`` and ``teacher small``."""

    size: ModelSize
    num_runs: int
    """Runs that train it; 0 for a teacher that was there before."""

    num_bytes: int | None
    """Of the first exported model: all files of its directory, the tokenizer's too. None before
    there is one, and where it cannot be reached."""

    tokens_per_second: float | None
    """Of all its runs that are done, as they ran: with starts and evaluations, and beside what
    shared the process or the machine. None where all were there before."""

    core_seconds: float
    gpu_seconds: float
    latency: Latency | None
    """None where it was not measured."""

    @property
    def name(self) -> str:
        """The names in a few words."""
        more = len(self.names) - _MOST_NAMES
        return ", ".join(self.names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """The architectures of a study: students of trials first, then stages, then teachers."""

    rows: tuple[ModelRow, ...]
    latency: str
    """What latencies are of and where they were measured; empty where none was."""


def sizes_of(records: Sequence[Record], latencies: Sequence[Latency]) -> Sizes:
    """Return the models of the runs of a study.

    Args:
        records: All of its runs; those of which no size is known are left out.
        latencies: All that were ever measured.
    """
    named = _names_by_size(records)
    if not named:
        return Sizes(rows=(), latency="")
    tokens, why = tokens_of_row(records)
    known = comparable(latencies, tokens=tokens)
    rows = tuple(
        _row(size, names, _trained(records, size), known.get(size.id))
        for size, names in named.items()
    )
    measured = [row.latency for row in rows if row.latency is not None]
    return Sizes(rows=rows, latency=_told(measured, why) if measured else "")


def models_of(records: Sequence[Record]) -> list[ModelSize]:
    """Return each architecture once, in the order of the rows."""
    return list(_names_by_size(records))


def student_of(run: Record) -> ModelSize | None:
    """Return the size of what a run trains; None where it is not known."""
    return run.models.get("student")


def _names_by_size(records: Sequence[Record]) -> dict[ModelSize, tuple[str, ...]]:
    """Return what each architecture serves as."""
    trials = [record for record in records if record.kind == "trial"]
    students = dict.fromkeys(size for trial in trials if (size := student_of(trial)))
    names: dict[ModelSize, dict[str, None]] = {}
    for size in students:
        arms = len({trial.arm for trial in trials if student_of(trial) == size})
        text = "student" if len(students) == 1 else f"student of {arms} arm{'s'[: arms != 1]}"
        names[size] = {text: None}
    for record in records:
        if record.kind == "stage" and (size := student_of(record)):
            names.setdefault(size, {})[stage_label(record)] = None
    for record in records:
        if record.kind != "probe":
            for name, size in _teachers(record):
                names.setdefault(size, {})[f"teacher {name}"] = None
    return {size: tuple(found) for size, found in names.items()}


def _teachers(run: Record) -> Iterable[tuple[str, ModelSize]]:
    """Return the teachers of a run by name: by the study's, where a trial has one of several."""
    for key, size in run.models.items():
        if key != "student":
            yield run.coordinates.get("teacher", key.removeprefix("teachers.")), size


def _trained(records: Sequence[Record], size: ModelSize) -> list[Record]:
    return [run for run in records if run.kind != "probe" and student_of(run) == size]


def _row(
    size: ModelSize, names: tuple[str, ...], runs: Sequence[Record], latency: Latency | None
) -> ModelRow:
    return ModelRow(
        names=names,
        size=size,
        num_runs=len(runs),
        num_bytes=_exported_bytes(runs),
        tokens_per_second=_tokens_per_second(runs),
        core_seconds=reserved_seconds(runs, "cpus"),
        gpu_seconds=reserved_seconds(runs, "gpus"),
        latency=latency,
    )


def _tokens_per_second(runs: Sequence[Record]) -> float | None:
    ended = [
        run
        for run in runs
        if run.state is State.DONE
        and run.attempts
        # The end of an attempt whose driver died is not known, nor so its seconds.
        and all(attempt.seconds is not None for attempt in run.attempts)
    ]
    spent = sum(map(seconds, ended))
    return sum(map(trained_tokens, ended)) / spent if spent else None


def _exported_bytes(runs: Sequence[Record]) -> int | None:
    first = next((run for run in runs if run.state is State.DONE), None)
    if first is None:
        return None
    try:
        with uris.retry_for(COMMAND_SECONDS):
            model = read_published(uris.join(first.run_uri, layout.MODEL), kind=layout.MODEL_KIND)
    except (PublicationError, StorageError):
        # Removed, or elsewhere: the rest of the report does not depend on it.
        return None
    return sum(int(file["bytes"]) for file in model.files.values())


def _told(measured: Sequence[Latency], why: str) -> str:
    first, load = measured[0], max(latency.load for latency in measured)
    threads = f"{first.threads} thread{'s'[: first.threads != 1]}"
    busy = (
        f" (which was busy, with a load of {load:.1f}: remove {LATENCIES} to measure again)"
        if load > _BUSY_LOAD
        else ""
    )
    return (
        f"one row of {first.tokens} tokens ({why}), float32, random weights, median, {threads} of "
        f"{first.cpu}{busy}"
    )
