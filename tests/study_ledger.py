"""Ledgers of studies that nobody ran, with stages, tuning runs and probes of known values.

``study_ledger`` has one of everything.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raykd.sweep.ledger import Ledger
from raykd.sweep.record import Attempt, Metrics, Record, State

from tests.sweeps import evaluations_of, ledger_of, run_id, stage_of, trial_of

RATE = "optimizer.learning_rate"
WEIGHT = "losses.forward_kl.weight"


def named_stage_of(name: str, *, state: State = State.DONE) -> Record:
    """Return the run of one of `stages:`."""
    stage = stage_of(name, values=[2.0, 1.5], state=state)
    return replace(stage, coordinates={"stage": name})


def tuning_of(
    coordinates: Mapping[str, Any],
    tuned: Mapping[str, Any],
    *,
    seed: int = 101,
    value: float | None = None,
    is_control: bool = False,
    state: State = State.DONE,
) -> Record:
    """Return a run that tries a value, and ends with a loss."""
    evaluations = () if value is None else evaluations_of([value + 1, value])
    trial = trial_of(
        {**coordinates, **tuned},
        seed=seed,
        evaluations=evaluations,
        is_control=is_control,
        state=state,
    )
    return replace(
        trial,
        kind="tuning",
        coordinates=dict(coordinates),
        tuned=dict(tuned),
        arm=run_id("tuning", trial.arm),
    )


def probe_of(
    probed: Record,
    name: str,
    *,
    at: float = 1.0,
    seed: int = 1,
    values: Mapping[str, float] | None = None,
    state: State = State.DONE,
) -> Record:
    """Return a run that scores the model of another, and ends with these metrics."""
    probe = run_id("probe", name, probed.id, at, seed)
    last: Metrics = {"step": 10, "tokens": 500, **(values or {})}
    return Record(
        id=probe,
        kind="probe",
        run_uri=f"s3://bucket/runs/{probe}",
        coordinates={"probe": name, "at": at},
        arm=run_id("probe", name, probed.id, at),
        seed=seed,
        control=None,
        config={"name": name},
        num_steps=10,
        planned_tokens=500,
        flops_per_token={"student": 100.0},
        needs=(probed.id,),
        probed=probed.id,
        probed_step=round(at * probed.num_steps),
        state=state,
        # An earlier evaluation, which counts nowhere.
        evaluations=({"step": 5, "tokens": 250, "eval/accuracy": 0.01}, last) if values else (),
        attempts=(Attempt(started_at=1_100.0, ended_at=1_102.0),) if values else (),
    )


def study_ledger(*, metric: str = "probe/two/accuracy", uri: str = "sweeps/study") -> Ledger:
    """Return a study of a stage, a teacher, two weights, 3 seeds, tuned rates and two probes.

    On the probe ``two``, an arm of weight w and a seed s score 0.7 + w / 10 + s (10 + w) / 1000,
    the control as weight 0, the stage 0.6, the teacher 0.95; on ``four`` half of it. After a tenth
    of their steps all have 0.6. The probe ``four`` of the last trial failed with one of its seeds.

    Of the rates 0.1, 0.2 and 0.4, weight 1 chooses 0.2, weight 2 and the control 0.1; that of the
    control failed with 0.4.
    """
    stage, teacher = named_stage_of("encoder"), stage_of("small", values=[3.0, 2.5])
    trials = [_trial(weight, seed) for weight in (0, 1, 2) for seed in (1, 2, 3)]
    scores = {stage.id: 0.6, teacher.id: 0.95} | {t.id: _score(t) for t in trials}
    probes = [
        probe_of(model, name, seed=seed, values={"eval/accuracy": share * score + offset})
        for model in (stage, teacher, *trials)
        for score in [scores[model.id]]
        for name, share in (("two", 1.0), ("four", 0.5))
        # The seeds of the probe lie around the score.
        for seed, offset in ((1, -0.01), (2, 0.01))
    ]
    probes[-1] = replace(probes[-1], **_FAILED)
    probes += [
        probe_of(trial, "two", at=0.1, seed=seed, values={"eval/accuracy": 0.6})
        for trial in trials
        for seed in (1, 2)
    ]
    records = [stage, teacher, *_tuning_runs(), *trials, *probes]
    ledger = ledger_of(records, uri=uri, metric=metric, mode="max")
    return replace(ledger, sweep=ledger.sweep | _STUDY)


_FAILED: dict[str, Any] = {
    "state": State.FAILED,
    "evaluations": (),
    "attempts": (
        Attempt(started_at=1.0, ended_at=2.0, error_class="DataError", error="no such task"),
    ),
}

_STUDY: dict[str, Any] = {
    "stages": {"encoder": {"run": "encoder.yaml"}},
    "teachers": {"small": {"run": "teacher.yaml", "milestones": [1.0]}},
    "tune": {
        "values": {RATE: [0.1, 0.2, 0.4]},
        "seeds": [101],
        "per": None,
        "metric": "eval/loss",
        "mode": "min",
    },
    "probes": {
        "two": {
            "run": "probe.yaml",
            "seeds": [1, 2],
            "at": [0.1, 1.0],
            "of": ["trials", "teachers", "stages"],
            "floor": 0.5,
        },
        "four": {"run": "probe.yaml", "seeds": [1, 2], "of": ["trials", "teachers", "stages"]},
    },
}


def _coordinates(weight: int) -> dict[str, Any]:
    return {WEIGHT: weight} if weight else {}


def _trial(weight: int, seed: int) -> Record:
    trial = trial_of(
        _coordinates(weight),
        seed=seed,
        evaluations=evaluations_of([3.0, 2.0 - weight / 10]),
        control=trial_of({}, seed=seed, is_control=True) if weight else None,
        is_control=not weight,
    )
    return replace(trial, tuned={RATE: 0.2 if weight == 1 else 0.1})


def _score(trial: Record) -> float:
    weight: int = trial.coordinates.get(WEIGHT, 0)
    return 0.7 + weight / 10 + trial.seed * (10 + weight) / 1_000


def _tuning_runs() -> list[Record]:
    losses = {
        0: {0.1: 2.4, 0.2: 2.5, 0.4: 2.6},
        1: {0.1: 2.4, 0.2: 2.3, 0.4: 2.6},
        2: {0.1: 2.2, 0.2: 2.3, 0.4: 2.6},
    }
    runs = [
        tuning_of(_coordinates(weight), {RATE: rate}, value=loss, is_control=not weight)
        for weight, by_rate in losses.items()
        for rate, loss in by_rate.items()
    ]
    runs[2] = replace(runs[2], **_FAILED)
    return runs
