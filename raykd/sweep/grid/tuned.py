"""Which of the tuned values each arm goes on with, once all of them are tried."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from raykd.config.schema.study import TuneConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.grid.entry import Entry
from raykd.sweep.record import Record
from raykd.sweep.tuning import choices_of

Values = dict[str, Any]
"""Tuned key to value."""

NOTHING: Mapping[str, Record] = MappingProxyType({})
"""No records: nothing is known."""


def chosen_values(
    sweep: SweepConfig,
    tune: TuneConfig,
    planned: Iterable[Entry],
    records: Mapping[str, Record],
) -> dict[str, Values] | None:
    """Return the values that the groups of arms go on with; None while a run is waited for.

    A group without a value, as every one failed, is left out.

    Args:
        sweep: What is asked for.
        tune: What it tunes.
        planned: All tuning runs.
        records: What is known of the sweep's runs.
    """
    # As planned now: what the ledger says of their places in the study may be of another file.
    runs = [
        replace(
            records[entry.id],
            kind="tuning",
            coordinates=entry.coordinates,
            tuned=entry.tuned,
            control=entry.control,
        )
        for entry in planned
        if entry.id in records and records[entry.id].state.is_terminal
    ]
    # All groups together: then what trials there are, and what they have in common, is decided
    # once, whichever group was ready first.
    if len(runs) < len(list(planned)):
        return None
    choices = choices_of(
        tune, runs, metric=tune.metric or sweep.metric, mode=tune.mode or sweep.mode
    )
    return {group: c.chosen for group, c in choices.items() if c.chosen is not None}
