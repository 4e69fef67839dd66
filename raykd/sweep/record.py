"""What is known of one run of a sweep."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

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


def has_failed(attempt: Attempt) -> bool:
    """Tell whether an attempt counts as a failure."""
    return attempt.error_class is not None and attempt.kind != PREEMPTED
