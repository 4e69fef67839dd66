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
from enum import StrEnum
from typing import Any, Literal

from raykd import strict_json
from raykd.config.yaml_text import write_yaml
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.leases.records import Lease, holders_of, is_alive
from raykd.storage.published import layout
from raykd.sweep.model_size import ModelSize

Metrics = dict[str, float]

KIND = Literal["stage", "tuning", "trial", "probe"]
"""A stage is trained once for others, a teacher among them; tuning runs choose values; trials are
compared; probes score the models of the others."""

PREEMPTED = "preempted"
"""Kind of an attempt whose machine was taken away."""


class State(StrEnum):
    """How far a run of the sweep is."""

    WAITING = "waiting"
    """Not started by this sweep, or interrupted: it starts, or continues, when its turn comes."""

    RUNNING = "running"
    """A trial of Ray Tune trains it; or did, when the driver died."""

    DONE = "done"
    """Trained to its last step."""

    STOPPED = "stopped"
    """Stopped early by the scheduler: its result at the rung stands."""

    FAILED = "failed"
    """Its last attempt failed, and it is not started again by itself."""

    BLOCKED = "blocked"
    """A stage that it needs failed."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self not in (State.WAITING, State.RUNNING)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One start of a run by the sweep."""

    started_at: float
    """Seconds since the epoch."""

    ended_at: float | None = None
    """None while it goes on, and where the driver died with it."""

    first_step: int = 0
    """Step it continued from; 0 is the beginning."""

    world_size: int = 1
    """Workers."""

    num_sharing: int = 1
    """Runs of its process, which share the teachers' forward passes."""

    error_class: str | None = None
    error: str | None = None

    kind: str | None = None
    """Why it ended, in the words of raykd.runs.retry, such as node_lost; preempted and stopped
    ended with a checkpoint. None where it is done, goes on, or its driver died."""

    @property
    def seconds(self) -> float | None:
        """How long it took, where that is known."""
        return None if self.ended_at is None else self.ended_at - self.started_at


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """The scheduler's decision to end a trial early."""

    rung_tokens: int
    """Tokens of the rung at which it was among the worse."""

    step: int
    """Step of the evaluation that counted there."""

    value: float
    """Value of the sweep's metric there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is known of one run of the sweep."""

    id: str
    """The run's identity, which is the name of its directory."""

    kind: KIND
    run_uri: str
    coordinates: dict[str, Any]
    """For a trial or a tuning run: coordinate to value, such as teacher, quality,
    losses.forward_kl.weight, student.init, or the name of a pair; none for what a control does not
    depend on. For a stage: its name as stage, or as teacher. For a probe: its name as probe, and
    at, the fraction of the steps of the run that it scores."""

    arm: str
    """Equal for trials that differ by seed only."""

    seed: int
    control: str | None
    """Id of the trial with the teacher's losses off and all else, the seed too, alike; its own
    id for a control; None where controls are off, and for stages and probes."""

    config: dict[str, Any]
    """The resolved run."""

    num_steps: int
    planned_tokens: int
    """Estimate from the mean length of the rows."""

    flops_per_token: dict[str, float] = field(default_factory=dict)
    """``student`` (forward and backward) and ``teachers`` (forward)."""

    models: dict[str, ModelSize] = field(default_factory=dict)
    """Sizes of ``student`` and ``teachers.NAME``; empty where they could not be planned."""

    needs: tuple[str, ...] = ()
    """Ids of the runs whose models it uses."""

    tuned: dict[str, Any] = field(default_factory=dict)
    """Tuned key to the value that a tuning run tries, or that was chosen for a trial."""

    points: tuple[dict[str, Any], ...] = ()
    """For a trial: the coordinates of the points of the grid that it is, where these are not just
    its own: a control, which may be several points or none, and points that are one run."""

    probed: str | None = None
    """For a probe: the id of the run whose model it scores."""

    probed_step: int = 0
    """Step of that model."""

    sharing_key: str | None = None
    """What it has in common with runs that it may share a process with, behind one teacher."""

    state: State = State.WAITING
    evaluations: tuple[Metrics, ...] = ()
    """Each with step, tokens and ``eval/...``; oldest first."""

    attempts: tuple[Attempt, ...] = ()
    """Starts by this sweep; none where the run was there already, made by another."""

    forgiven_failures: int = 0
    """Failed attempts that do not count: those before it was asked to be tried again."""

    forgiven_preemptions: int = 0
    """Preempted attempts that do not count, likewise."""

    stop: Stop | None = None

    @property
    def failures(self) -> int:
        """Failed attempts that count."""
        # Attempts are never removed: what it took to get here stays visible in the report.
        return sum(map(has_failed, self.attempts)) - self.forgiven_failures

    @property
    def preemptions(self) -> int:
        """Attempts that ended because a machine was taken away, and that count."""
        return sum(a.kind == PREEMPTED for a in self.attempts) - self.forgiven_preemptions

    @property
    def is_control(self) -> bool:
        """Whether the teacher's losses are off."""
        # By identity, not by a flag: a run without a teacher's loss is its own control.
        return self.control == self.id

    @property
    def grid_points(self) -> tuple[dict[str, Any], ...]:
        """Coordinates of the points of the grid that it is; none for a control beside the grid."""
        return self.points or (() if self.is_control else (self.coordinates,))

    @property
    def is_reused(self) -> bool:
        """Whether it was done before this sweep ever started it."""
        return self.state is State.DONE and not self.attempts

    @property
    def last_evaluation(self) -> Metrics:
        """The newest evaluation; empty before the first."""
        return self.evaluations[-1] if self.evaluations else {}

    @property
    def tokens(self) -> int:
        """Tokens trained on at the newest evaluation."""
        return int(self.last_evaluation.get("tokens", 0))

    @property
    def error(self) -> str | None:
        """Why the last attempt failed, if it did."""
        return self.attempts[-1].error if self.attempts else None


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


def has_failed(attempt: Attempt) -> bool:
    """Tell whether an attempt counts as a failure."""
    return attempt.error_class is not None and attempt.kind != PREEMPTED


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
