"""Ledgers of sweeps that nobody ran, with known effects: what reports are tested on.

``rich_ledger`` has one of everything; ``ledger_of`` makes a ledger of arms one writes oneself.
"""

import hashlib
import json
import os
import random
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raykd.storage.leases.records import Lease, write_lease
from raykd.sweep.ledger import Ledger, SweepPaths, write_index, write_records
from raykd.sweep.record import Attempt, Metrics, Record, State, Stop

COMMAND = "raykd sweep study.yaml 'seeds=[1,2]'"

NUM_STEPS = 100
TOKENS_PER_STEP = 50
STUDENT_FLOPS = 600.0
TEACHER_FLOPS = 200.0


def run_id(*parts: Any) -> str:
    """Return a made-up identity, the same for the same parts."""
    text = json.dumps(parts, sort_keys=True)
    return f"run-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def evaluations_of(
    values: Sequence[float], *, metric: str = "eval/loss", more: Mapping[str, float] | None = None
) -> tuple[Metrics, ...]:
    """Return evaluations at even steps up to the last, and ``more`` metrics with each."""
    every = NUM_STEPS // len(values)
    return tuple(
        {
            "step": step,
            "tokens": step * TOKENS_PER_STEP,
            metric: value,
            f"{metric}/de": value + 0.1,
            f"{metric}/en": value - 0.1,
            **(more or {}),
        }
        for step, value in ((every * (index + 1), value) for index, value in enumerate(values))
    )


def trial_of(
    coordinates: Mapping[str, Any],
    *,
    seed: int = 1,
    evaluations: tuple[Metrics, ...] = (),
    control: Record | None = None,
    is_control: bool = False,
    state: State = State.DONE,
) -> Record:
    """Return a trial that took half a minute, if it was evaluated."""
    name = run_id(coordinates, seed, is_control)
    teachers = {} if is_control else {"teachers": TEACHER_FLOPS}
    return Record(
        id=name,
        kind="trial",
        run_uri=f"s3://bucket/runs/{name}",
        coordinates=dict(coordinates),
        arm=run_id(coordinates, is_control),
        seed=seed,
        control=name if is_control else None if control is None else control.id,
        config={"name": "student", "train": {"seed": seed}},
        num_steps=NUM_STEPS,
        planned_tokens=NUM_STEPS * TOKENS_PER_STEP,
        flops_per_token={"student": STUDENT_FLOPS, **teachers},
        state=state,
        evaluations=evaluations,
        attempts=(Attempt(started_at=1_000.0, ended_at=1_030.0),) if evaluations else (),
    )


def stage_of(teacher: str, *, values: Sequence[float], state: State = State.DONE) -> Record:
    """Return the run of a teacher."""
    name = run_id("stage", teacher)
    return Record(
        id=name,
        kind="stage",
        run_uri=f"s3://bucket/runs/{name}",
        coordinates={"teacher": teacher},
        arm=name,
        seed=17,
        control=None,
        config={"name": teacher},
        num_steps=NUM_STEPS,
        planned_tokens=NUM_STEPS * TOKENS_PER_STEP,
        flops_per_token={"student": 3 * STUDENT_FLOPS},
        state=state,
        evaluations=evaluations_of(values) if values else (),
        attempts=(Attempt(started_at=900.0, ended_at=1_000.0),),
    )


def ledger_of(
    records: Iterable[Record],
    *,
    uri: str = "sweeps/study",
    metric: str = "eval/loss",
    mode: str = "min",
    name: str = "study",
    lease: Lease | None = None,
) -> Ledger:
    """Return a ledger of runs in this order."""
    sweep = {"name": name, "base": "base.yaml", "metric": metric, "mode": mode, "seeds": [1, 2]}
    return Ledger(
        uri=uri,
        sweep=sweep,
        records={record.id: record for record in records},
        command=COMMAND,
        lease=lease,
    )


def driver(*, host: str | None = None, silent_seconds: float = 0.0) -> Lease:
    """Return the lease of a driver that was last heard so long ago; without a host it is here."""
    return Lease(
        holder="driver",
        host=host or socket.gethostname(),
        process_id=os.getpid(),
        has_workers=False,
        heartbeat=time.time() - silent_seconds,
    )


def write_ledger(ledger: Ledger) -> None:
    """Leave a ledger where it says it lies, and the lease of its driver."""
    paths = SweepPaths(sweep=ledger.uri)
    write_index(
        paths,
        sweep=ledger.sweep,
        run_ids=ledger.records,
        command=ledger.command,
        asked=ledger.asked,
        is_open=ledger.is_open,
    )
    write_records(paths, ledger.records.values())
    if ledger.lease is not None:
        write_lease(paths.lease, ledger.lease)


def arm_and_control(
    coordinates: Mapping[str, Any],
    *,
    own: Sequence[float],
    control: Sequence[float],
    metric: str = "eval/loss",
) -> list[Record]:
    """Return an arm and its control by their final values, seeds 1, 2, ...; controls first."""

    def ending_at(value: float) -> tuple[Metrics, ...]:
        return evaluations_of([value + 1, value], metric=metric)

    controls = [
        trial_of({}, seed=seed, evaluations=ending_at(value), is_control=True)
        for seed, value in enumerate(control, start=1)
    ]
    trials = [
        trial_of(coordinates, seed=c.seed, evaluations=ending_at(value), control=c)
        for c, value in zip(controls, own, strict=True)
    ]
    return [*controls, *trials]


def rich_ledger(uri: str = "sweeps/rich", *, is_over: bool = True) -> Ledger:
    """Return a sweep of two teachers, one at two qualities, three weights, two starts, 4 seeds.

    The strong teacher helps the more the more it counts; the weak one (a quarter of its training)
    hurts with weight 4. Beside what is done: one trial failed, one stopped, two blocked by a
    teacher that failed, one reused, one resumed; unless over, one running and one waiting, and a
    driver that is at it.
    """
    rng = random.Random(7)
    strong = stage_of("strong", values=[4.0, 3.4, 3.1, 2.9])
    broken = replace(
        stage_of("broken", values=[], state=State.FAILED),
        attempts=(_failed_attempt("ModelError", "broken: no such checkpoint <s3://b>"),),
    )
    records = [strong, broken]
    for init in (None, {"remap": {"source": "s3://bucket/runs/strong"}}):
        records += _half(rng, init, strong)
    records = _with_events(records)
    records += _blocked(records, broken)
    if not is_over:
        records = _unfinished(records)
    lease = None if is_over else driver()
    return replace(ledger_of(records, uri=uri, name="rich", lease=lease), sweep=_RICH_SWEEP)


def many_trials(num_trials: int, *, num_evaluations: int = 20) -> Ledger:
    """Return a sweep of arms of 5 seeds, one of ten arms a control."""
    rng = random.Random(3)
    records: list[Record] = []
    controls: list[Record] = []
    for index in range(num_trials // 5):
        is_control = index % 10 == 0
        if is_control:
            controls = []
        for seed in range(5):
            values = [5 - i / num_evaluations + rng.gauss(0, 0.1) for i in range(num_evaluations)]
            trial = trial_of(
                {"losses.forward_kl.weight": index % 10, "student.width": index // 10},
                seed=seed,
                evaluations=evaluations_of(values),
                control=None if is_control else controls[seed],
                is_control=is_control,
            )
            records.append(trial)
            if is_control:
                controls.append(trial)
    return ledger_of(records, uri="sweeps/many", name="many")


_RICH_SWEEP = {
    "name": "rich",
    "base": "base.yaml",
    "teachers": {
        "strong": {"run": "teacher.yaml", "milestones": [0.25, 1.0]},
        "broken": {"run": "broken.yaml", "milestones": [1.0]},
    },
    "search": {
        "losses.forward_kl.weight": {"grid": [0.25, 1.0, "4 -> 1"]},
        "student.init": {"grid": [None, {"remap": {"source": "strong"}}]},
    },
    "seeds": [1, 2, 3, 4],
    "controls": True,
    "metric": "eval/loss",
    "mode": "min",
}

_SEEDS = (1, 2, 3, 4)
_SCORES = {0.25: 4.0, 1.0: 2.9}
_GAINS = {(1.0, 0.25): 0.2, (1.0, 1.0): 0.4, (1.0, "4 -> 1"): 0.6,
          (0.25, 0.25): 0.0, (0.25, 1.0): -0.02, (0.25, "4 -> 1"): -0.5}  # fmt: skip


def _half(rng: random.Random, init: Any, strong: Record) -> list[Record]:
    """Return the trials with one start: the controls, then the grid."""
    base = {seed: 3.6 + rng.gauss(0, 0.1) - (0.1 if init else 0) for seed in _SEEDS}
    controls = {
        seed: trial_of(
            {"student.init": init}, seed=seed, evaluations=_fall(base[seed]), is_control=True
        )
        for seed in _SEEDS
    }
    trials = []
    for (quality, weight), gain in _GAINS.items():
        for seed in _SEEDS:
            trial = trial_of(
                {
                    "teacher": "strong",
                    "quality": quality,
                    "losses.forward_kl.weight": weight,
                    "student.init": init,
                },
                seed=seed,
                evaluations=_fall(
                    base[seed] - gain + rng.gauss(0, 0.03),
                    more={"eval/teacher/loss": _SCORES[quality]},
                ),
                control=controls[seed],
            )
            trials.append(replace(trial, needs=(strong.id,)))
    return [*controls.values(), *trials]


def _fall(end: float, more: Mapping[str, float] | None = None) -> tuple[Metrics, ...]:
    return evaluations_of([end + extra for extra in (2.0, 0.9, 0.3, 0.0)], more=more)


def _with_events(records: list[Record]) -> list[Record]:
    reused, resumed, failed, stopped = 6, -1, -5, -9
    records[reused] = replace(records[reused], attempts=())
    records[resumed] = replace(
        records[resumed],
        attempts=(
            Attempt(started_at=1_000.0, ended_at=None),
            Attempt(started_at=2_000.0, ended_at=2_020.0, first_step=50),
        ),
    )
    records[failed] = replace(
        records[failed],
        state=State.FAILED,
        evaluations=records[failed].evaluations[:2],
        attempts=(_failed_attempt("NonFiniteLossError", "step 61: loss is nan"),),
    )
    last = records[stopped].evaluations[1]
    records[stopped] = replace(
        records[stopped],
        state=State.STOPPED,
        evaluations=records[stopped].evaluations[:2],
        stop=Stop(rung_tokens=2_500, step=50, value=last["eval/loss"]),
    )
    return records


def _blocked(records: list[Record], broken: Record) -> list[Record]:
    controls = [record for record in records if record.is_control][:2]
    return [
        replace(
            trial_of(
                {
                    "teacher": "broken",
                    "quality": 1.0,
                    "losses.forward_kl.weight": 1.0,
                    "student.init": None,
                },
                seed=control.seed,
                control=control,
                state=State.BLOCKED,
            ),
            needs=(broken.id,),
        )
        for control in controls
    ]


def _unfinished(records: list[Record]) -> list[Record]:
    running, waiting = -13, -14
    records[running] = replace(
        records[running],
        state=State.RUNNING,
        evaluations=records[running].evaluations[:3],
        attempts=(Attempt(started_at=1_000.0),),
    )
    records[waiting] = replace(records[waiting], state=State.WAITING, evaluations=(), attempts=())
    return records


def _failed_attempt(error_class: str, error: str) -> Attempt:
    return Attempt(started_at=1_000.0, ended_at=1_010.0, error_class=error_class, error=error)
