"""Studies of runs that a simulated cluster trains, and how a test sees where they stand."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.config.load import checked_sweep
from raykd.config.schema.sweep import SweepConfig
from raykd.runs.checkpoint import checkpoint_name
from raykd.runs.paths import RunPaths
from raykd.sweep.ledger import SweepPaths, read_records
from raykd.sweep.record import Record, State
from raykd.sweep.study.study import Limits, Study

from tests.unit.sweep.study.simulator import (
    STEPS,
    TOKENS_PER_STEP,
)

FALLING = (4.0, 3.0, 2.0, 1.0)
RUNGS = (100, 200)
ASHA = {"asha": {"first_rung": 0.25, "reduction_factor": 2}}


def sweep_of(**given: Any) -> SweepConfig:
    return checked_sweep({"name": "study", "base": "base.yaml", **given}, origin="sweep")


def run_of(directory: Path, run_id: str, **changes: Any) -> Record:
    return replace(
        Record(
            id=run_id,
            kind="trial",
            run_uri=str(directory / "runs" / run_id),
            coordinates={},
            arm=run_id,
            seed=1,
            control=None,
            config={"cluster": {"num_workers": 2, "max_failures": 3, "max_preemptions": 2}},
            num_steps=STEPS * len(FALLING),
            planned_tokens=STEPS * len(FALLING) * TOKENS_PER_STEP,
        ),
        **changes,
    )


def probe_of(directory: Path, run_id: str, run: str, *, step: int) -> Record:
    """Return a probe of the model of a run after a step."""
    place = RunPaths(str(directory / "runs" / run)).checkpoints
    record = run_of(
        directory,
        run_id,
        kind="probe",
        coordinates={"probe": "topics", "at": step / (STEPS * len(FALLING))},
        needs=(run,),
        probed=run,
        probed_step=step,
    )
    student = {"pretrained": f"{place}/{checkpoint_name(step)}"}
    return replace(record, config={**record.config, "student": student})


def paths_in(directory: Path) -> SweepPaths:
    return SweepPaths(sweep=str(directory / "sweep"))


def study_of(
    directory: Path, records: Sequence[Record], limits: Limits | None = None, **sweep: Any
) -> Study:
    # A clock on which every pause is over at once.
    limits = limits or Limits(at_once=2, clock=itertools.count(step=1000).__next__)
    return Study(sweep_of(**sweep), paths_in(directory), records, limits=limits)


def written(directory: Path, records: Sequence[Record]) -> dict[str, Record]:
    """Return what the ledger holds."""
    return read_records(paths_in(directory), [record.id for record in records])


def states(records: Mapping[str, Record]) -> dict[str, State]:
    return {run_id: record.state for run_id, record in records.items()}


def handed_out(study: Study) -> list[str]:
    found = []
    while process := study.next_process():
        found += [record.id for record in process]
    return found


def finish(study: Study, run_id: str) -> None:
    """Let a run that was started reach its last step."""
    path = Path(study.records[run_id].run_uri)
    path.mkdir(parents=True, exist_ok=True)
    result = '{"is_done": true, "step": 1, "num_steps": 1, "metrics": {}, "model_uri": null}'
    (path / "result.json").write_text(result)
    study.ended(run_id)
