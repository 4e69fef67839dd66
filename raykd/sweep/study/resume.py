"""What carries over from an earlier start of a sweep to the next one."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from raykd.errors import ConfigError
from raykd.sweep.grid.coordinates import keys_named, value_text
from raykd.sweep.record import Record, State


def resumed(
    planned: Iterable[Record], known: Mapping[str, Record], *, retries_failed: bool
) -> list[Record]:
    """Return the planned records with what the ledger knows of them.

    Done is what storage says is done. The scheduler's decisions stand; so do final failures,
    unless they are to be tried again.

    Args:
        planned: In the order of the plan, with evaluations and states as found in storage.
        known: Records of the ledger by id.
        retries_failed: Forget the failures: all attempts are granted again.
    """
    return [
        _resumed(record, known[record.id], retries_failed) if record.id in known else record
        for record in planned
    ]


def _resumed(planned: Record, known: Record, retries_failed: bool) -> Record:  # noqa: FBT001
    record = replace(
        planned,
        attempts=known.attempts,
        forgiven_failures=known.forgiven_failures,
        forgiven_preemptions=known.forgiven_preemptions,
        stop=known.stop,
    )
    # Before what storage says: a stopped trial that trained on to its end while the decision was
    # open is stopped all the same, else a resume would change the study's outcome.
    if record.stop is not None:
        return replace(record, state=State.STOPPED)
    if planned.state is State.DONE or known.state is not State.FAILED:
        return record
    if not retries_failed:
        return replace(record, state=State.FAILED)
    return replace(
        record,
        # record.failures is what counts now, without those that are forgiven already.
        forgiven_failures=record.failures + record.forgiven_failures,
        forgiven_preemptions=record.preemptions + record.forgiven_preemptions,
    )


def selected(records: Iterable[Record], only: Collection[str]) -> set[str]:
    """Return the ids of the trials at some coordinates, with all that belongs to them.

    That is their controls, the stages that they need, the runs that choose values, all of them as
    no value is chosen before, and their probes.

    Args:
        records: All of the sweep.
        only: Coordinates such as ``teacher=small``; a trial is selected where all of them hold.

    Raises:
        ConfigError: One has another form, or nothing is at these coordinates.
    """
    wanted = [tuple(text.split("=", 1)) for text in only]
    if bad := [text for text, pair in zip(only, wanted, strict=True) if len(pair) == 1]:
        message = f"--only {bad[0]} must have the form COORDINATE=VALUE, such as teacher=small"
        raise ConfigError(message)
    by_id = {record.id: record for record in records}
    trials = [r for r in by_id.values() if r.kind == "trial" and _is_at_all(r.coordinates, wanted)]
    tuning = [r for r in by_id.values() if r.kind == "tuning"]
    # Before values are chosen, there are only the runs that choose them.
    if not trials and not any(_is_at_all(r.coordinates, wanted) for r in tuning):
        message = f"--only {' '.join(only)}: no trial is there; raykd check lists the coordinates"
        raise ConfigError(message)
    ids = {r.id for r in (*trials, *tuning)}
    ids |= {r.control for r in trials if r.control is not None}
    # In the plan a stage is after those that it needs.
    for record in reversed(by_id.values()):
        if record.id in ids:
            ids |= set(record.needs)
    return ids | {r.id for r in by_id.values() if r.probed in ids}


def _is_at_all(coordinates: Mapping[str, object], wanted: Iterable[tuple[str, ...]]) -> bool:
    return all(
        value in [value_text(coordinates[key]) for key in keys_named(name, coordinates)]
        for name, value in wanted
    )
