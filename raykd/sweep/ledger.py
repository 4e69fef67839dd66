"""What is known of every run of a sweep, in storage: it outlives Ray, the driver, the machine.

    OUTPUT_URI/NAME/
      sweep.yaml        the sweep as it was last started
      index.json        its runs in the order of the plan, and what it was asked
      records/ID.json   one record per run
      lease.json        which driver writes right now
      report/           what `raykd report` leaves

Runs themselves lie where their own configuration says, shared by all sweeps that need them.
The driver alone writes the ledger. A record is replaced whole, so readers never see half of one.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raykd import strict_json
from raykd.config.yaml_text import write_yaml
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.leases.records import Lease, holders_of, is_alive
from raykd.storage.published import layout
from raykd.sweep.model_size import ModelSize
from raykd.sweep.record import Attempt, Record, State, Stop


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A question that the sweep was started with, once at least."""

    name: str
    question: dict[str, Any]
    """As the resolved sweep file has it, with its metric."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name to question, of those that it consists of."""

    asked_at: float
    """When it was first asked, in seconds since the epoch."""

    is_afterwards: bool
    """Whether one of its arms had a result then, or when its seeds or arms were changed."""

    has_results: bool = False
    """Whether one had a result at a later start; it may have left the sweep since."""

    withdrawn_at: float | None = None
    """When it was gone from the file; None while it is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepPaths:
    """The URIs of one sweep."""

    sweep: str

    @property
    def config(self) -> str:
        """The sweep file, resolved."""
        return uris.join(self.sweep, layout.SWEEP_CONFIG)

    @property
    def index(self) -> str:
        """The order of stages and trials."""
        return uris.join(self.sweep, layout.SWEEP_INDEX)

    @property
    def lease(self) -> str:
        """Which driver writes."""
        return uris.join(self.sweep, layout.LEASE)

    @property
    def report(self) -> str:
        """What the report leaves."""
        return uris.join(self.sweep, "report")

    @property
    def marks(self) -> tuple[str, ...]:
        """Names of which one at least is in the directory of a sweep that has begun."""
        return tuple(mark.rpartition("/")[2] for mark in (self.index, self.lease))

    def record(self, run_id: str) -> str:
        """One run of the sweep."""
        return uris.join(self.sweep, layout.RECORDS, f"{run_id}.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """All that is known of a sweep."""

    uri: str
    """Directory of the sweep."""

    sweep: dict[str, Any]
    """The sweep file, resolved."""

    records: dict[str, Record]
    """Id to record, in the order of the plan, stages first."""

    command: str = ""
    """What started it last, as one would type it; empty where that was no command."""

    asked: tuple[Asked, ...] = ()
    """Every question of it whose arms had results while it was asked, and those of the file."""

    is_open: bool = False
    """Whether results are to decide on further runs, or some have no record yet."""

    lease: Lease | None = None
    """Lease of the driver that writes it, or did when it died; None where none is at it."""

    @property
    def stages(self) -> list[Record]:
        """The teachers' runs."""
        return [record for record in self.records.values() if record.kind == "stage"]

    @property
    def trials(self) -> list[Record]:
        """What the sweep compares."""
        return [record for record in self.records.values() if record.kind == "trial"]

    @property
    def is_over(self) -> bool:
        """Whether every run has ended in some way, and no other is to follow."""
        # Open: between the last of the runs that decide and the next ones a plan is made, by the
        # driver, or by the next one where it dies.
        return not self.is_open and all(r.state.is_terminal for r in self.records.values())

    @property
    def is_driven(self) -> bool:
        """Whether a driver is at it that lives, as far as one can see from here."""
        return self.lease is not None and is_alive(self.lease)


def read_ledger(uri: str) -> Ledger:
    """Return what is known of the sweep in a directory.

    Raises:
        ConfigError: No sweep is there.
    """
    paths = SweepPaths(sweep=uri.rstrip("/"))
    try:
        index = json.loads(uris.read_bytes(paths.index))
    except FileNotFoundError as error:
        message = (
            f"{uri}: holds no sweep; give the directory that raykd sweep names (that of a run is "
            "for raykd evaluate)"
        )
        raise ConfigError(message) from error
    # Records alone name no order, so the index is read first.
    records = read_records(paths, index["runs"])
    # A driver may have died between the index and the records of what is new in it.
    known = [run_id for run_id in index["runs"] if run_id in records]
    return Ledger(
        uri=paths.sweep,
        sweep=index["sweep"],
        records={run_id: records[run_id] for run_id in known},
        command=index.get("command", ""),
        asked=tuple(Asked(**entry) for entry in index.get("asked", ())),
        is_open=index.get("is_open", False) or len(known) < len(index["runs"]),
        # The last holder: a driver that has taken over stands after the dead one.
        lease=next(reversed(holders_of(paths.lease)), None),
    )


def read_records(paths: SweepPaths, run_ids: Iterable[str]) -> dict[str, Record]:
    """Return the records that are there, many at a time."""
    places = {paths.record(run_id): run_id for run_id in run_ids}
    texts = uris.read_many(list(places))
    return {places[uri]: _record(json.loads(text)) for uri, text in texts.items()}


def write_index(
    paths: SweepPaths,
    *,
    sweep: Mapping[str, object],
    run_ids: Iterable[str],
    command: str = "",
    asked: Iterable[Asked] = (),
    is_open: bool = False,
) -> None:
    """Write the order of the plan and the sweep file, and what else the ledger has of a sweep."""
    index = {
        "sweep": dict(sweep),
        "runs": list(run_ids),
        "command": command,
        "asked": [dataclasses.asdict(entry) for entry in asked],
        "is_open": is_open,
    }
    # First: by it, the directory is known to be a sweep's; without it nobody reads the rest.
    uris.write_bytes(paths.index, strict_json.file_content(index))
    uris.write_bytes(paths.config, write_yaml(dict(sweep)).encode())


def write_records(paths: SweepPaths, records: Iterable[Record]) -> None:
    """Replace records, many at a time."""
    # No record depends on another, so they need no order; the state of a sweep is whatever is
    # there, and a study made anew brings it up to date.
    uris.write_many({paths.record(r.id): _as_json(r).encode() for r in records})


def _as_json(record: Record) -> str:
    # dataclasses.asdict would copy the run's configuration, which takes ten times as long.
    return strict_json.text({f.name: getattr(record, f.name) for f in dataclasses.fields(record)})


def _record(saved: dict[str, Any]) -> Record:
    stop = saved.pop("stop")
    # Studies outlive versions of raykd: a ledger that has this name for it goes on.
    if "pack_key" in saved:
        saved["sharing_key"] = saved.pop("pack_key")
    return Record(
        **{
            **saved,
            "state": State(saved["state"]),
            "models": {key: ModelSize(**size) for key, size in saved.get("models", {}).items()},
            "needs": tuple(saved["needs"]),
            "points": tuple(saved.get("points", ())),
            "evaluations": tuple(map(strict_json.numbers, saved["evaluations"])),
            "attempts": tuple(Attempt(**attempt) for attempt in saved["attempts"]),
            "stop": None
            if stop is None
            else Stop(**{**stop, "value": strict_json.number(stop["value"])}),
        }
    )
