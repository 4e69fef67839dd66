"""One run of a sweep, before anything is known of its progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from raykd.config.identity import run_id
from raykd.config.schema.run import RunConfig
from raykd.runs.inputs import input_uris
from raykd.sweep.record import KIND


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A run of the sweep; see ``raykd.sweep.record.Record`` for what is said of it."""

    id: str
    kind: KIND
    config: RunConfig
    coordinates: dict[str, Any]
    arm: str
    control: str | None = None
    needs: tuple[str, ...] = ()
    tuned: dict[str, Any] = field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    probed: str | None = None
    probed_step: int = 0


def entry_of(config: RunConfig, *, kind: KIND, coordinates: dict[str, Any], **known: Any) -> Entry:
    """Return a run of the sweep.

    Args:
        config: The run, pinned.
        kind: What it is for.
        coordinates: What tells it apart.
        **known: Other fields of the entry.
    """
    return Entry(
        id=run_id(config),
        kind=kind,
        config=config,
        coordinates=coordinates,
        # Seeds differ within an arm; one fixed seed gives all of them the same hash.
        arm=run_id(with_seed(config, 0)),
        **known,
    )


def with_seed(config: RunConfig, seed: int | None) -> RunConfig:
    """Return a run with another seed; as it is for None."""
    return config if seed is None else replace(config, train=replace(config.train, seed=seed))


def as_run(config: RunConfig, *, kind: KIND, seed: int | None) -> RunConfig:
    """Return an arm's run with a seed; one that values are chosen by never sees the test split."""
    if kind == "tuning":
        config = replace(config, data=replace(config.data, test_split=None))
    return with_seed(config, seed)


def with_milestones(config: RunConfig, milestones: set[float]) -> RunConfig:
    """Return a run that keeps further checkpoints, which is the same run."""
    kept = tuple(sorted({*config.checkpoint.milestones, *milestones}))
    return replace(config, checkpoint=replace(config.checkpoint, milestones=kept))


def needed_stages(config: RunConfig, stages: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the stages in whose runs the inputs of a run lie.

    Args:
        config: The run.
        stages: Directory of a stage's run to its id.
    """
    uris = tuple(input_uris(config).values())
    return tuple(
        stage
        for run_uri, stage in stages.items()
        # With the slash: a run's directory may be the beginning of another's name.
        if any(uri.startswith(f"{run_uri}/") for uri in uris)
    )
