"""What the driver of a sweep does for many trials at a time, none of which is trained."""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from raykd.config.load import plain
from raykd.runs.paths import RunPaths
from raykd.runs.result import RunResult
from raykd.storage import uris
from raykd.sweep.ledger import SweepPaths, read_ledger, write_index
from raykd.sweep.record import Record, State
from raykd.sweep.study.study import Limits, Study

from tests.bench.support.scaling_storage import URI, Requests, Store
from tests.sweep_files import expanded, sweep_in, write_runs
from tests.sweeps import NUM_STEPS, evaluations_of, trial_of

_NUM_EVALUATIONS = 20
"""Of each trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerFigures:
    """What the driver of a sweep does for so many trials at a time."""

    start: Requests
    """Of one run, handed out and begun."""

    evaluation: Requests
    """Of one evaluation of one run, where every one is flushed."""

    end: Requests
    """Of one run, the metrics and the result that the driver reads included."""

    record_bytes: int
    """At the end of a run."""

    driver_seconds: float
    """CPU time of one run from start to end, the client of the store included."""

    flush_seconds: float
    """To write the records of all runs at once, on this machine, server and all."""

    resume_seconds: float
    """To read the whole ledger again, likewise."""


def ledger_figures(store: Store, directory: Path, num_trials: int) -> LedgerFigures:
    """Bring a study whose runs all go at a time to its end; nothing is trained."""
    uri = f"{URI}/sweeps/{num_trials}"
    records = _trials(directory, num_trials)
    paths = SweepPaths(sweep=uri)
    write_index(paths, sweep={"name": "bench"}, run_ids=[r.id for r in records])
    sweep = sweep_in(directory)
    study = Study(sweep, paths, records, limits=Limits(at_once=num_trials))
    started_cpu = time.process_time()
    with store.counting() as seen:
        while process := study.next_process():
            for record in process:
                study.started(record.id)
        start = seen()
    final = evaluations_of([5 - i / _NUM_EVALUATIONS for i in range(_NUM_EVALUATIONS)])
    for metrics in final[:-1]:
        for record in records:
            study.reported(record.id, metrics)
    study.flush()
    with store.counting() as seen:
        # One evaluation of every run between two flushes.
        for record in records:
            study.reported(record.id, final[-1])
        flushing = time.perf_counter()
        study.flush()
        flush_seconds = time.perf_counter() - flushing
        evaluation = seen()
    driver_seconds = time.process_time() - started_cpu
    _leave_results(records)
    started_cpu = time.process_time()
    with store.counting() as seen:
        for record in records:
            study.ended(record.id)
        end = seen()
    driver_seconds += time.process_time() - started_cpu
    reading = time.perf_counter()
    ledger = read_ledger(uri)
    resume_seconds = time.perf_counter() - reading
    assert {r.state for r in ledger.records.values()} == {State.DONE}
    written = store.directory / "sweeps" / str(num_trials) / "records"
    return LedgerFigures(
        start=start.each(num_trials),
        evaluation=evaluation.each(num_trials),
        end=end.each(num_trials),
        record_bytes=max(path.stat().st_size for path in written.iterdir()),
        driver_seconds=driver_seconds / num_trials,
        flush_seconds=flush_seconds,
        resume_seconds=resume_seconds,
    )


def _trials(directory: Path, num_trials: int) -> list[Record]:
    """Return trials whose configuration is as long as that of real ones."""
    if not (directory / "base.yaml").exists():
        write_runs(directory)
    run = expanded(sweep_in(directory))[1][0]
    config = plain(run.config)
    trials = (
        trial_of({"teacher": "small", "seed": seed}, seed=seed) for seed in range(num_trials)
    )
    return [
        replace(t, config=config, state=State.WAITING, run_uri=f"{URI}/runs/{t.id}")
        for t in trials
    ]


def _leave_results(records: Iterable[Record]) -> None:
    """Leave what finished runs do."""
    lines = [json.dumps(metrics) for metrics in evaluations_of([4.0, 3.0, 2.0])]
    contents = {}
    for record in records:
        paths = RunPaths(record.run_uri)
        result = RunResult(
            is_done=True, step=NUM_STEPS, num_steps=NUM_STEPS, metrics={}, model_uri=paths.model
        )
        contents[paths.metrics] = "\n".join(lines).encode()
        contents[paths.result] = json.dumps(asdict(result)).encode()
    uris.write_many(contents)
