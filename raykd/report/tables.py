"""The ledger as tables for other tools: one row per trial, one row per evaluation."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from raykd.report.cost import seconds, teachers_per_token
from raykd.report.pairing import Pairing, flops
from raykd.sweep.grid.coordinates import run_labels
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import Record

_TRIAL_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "arm": pa.string(),
    "label": pa.string(),
    "is_control": pa.bool_(),
    "control": pa.string(),
    "seed": pa.int64(),
    "state": pa.string(),
    "is_reused": pa.bool_(),
    "run_uri": pa.string(),
    "num_steps": pa.int64(),
    "step": pa.int64(),
    "tokens": pa.int64(),
    "student_flops": pa.float64(),
    "teacher_flops": pa.float64(),
    "seconds": pa.float64(),
    "num_attempts": pa.int64(),
    "error": pa.string(),
}

_EVALUATION_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "kind": pa.string(),
    "label": pa.string(),
    "arm": pa.string(),
    "probed": pa.string(),
    "seed": pa.int64(),
    "step": pa.int64(),
    "tokens": pa.int64(),
    "flops": pa.float64(),
}


def trials_table(pairing: Pairing) -> pa.Table:
    """Return one row per trial, with its newest evaluation: the final one where it is done.

    Coordinates are columns of text called ``coordinate/KEY``, null where a trial has none, and
    values that were chosen for it ``tuned/KEY``; metrics keep their names.
    """
    trials = pairing.ledger.trials
    keys = dict.fromkeys(f"coordinate/{key}" for trial in trials for key in trial.coordinates)
    keys |= dict.fromkeys(f"tuned/{key}" for trial in trials for key in trial.tuned)
    metrics = _metrics(trials)
    columns = (
        _TRIAL_COLUMNS | dict.fromkeys(keys, pa.string()) | dict.fromkeys(metrics, pa.float64())
    )
    return _table([_trial_row(pairing, trial) for trial in trials], columns)


def evaluations_table(ledger: Ledger) -> pa.Table:
    """Return one row per evaluation of any run; ``probed`` is the run that a probe scores."""
    runs = list(ledger.records.values())
    labels = run_labels(runs)
    # A schema that does not depend on the values: a metric that is null in every row stays a
    # number, and the files of two sweeps can be joined.
    columns = _EVALUATION_COLUMNS | dict.fromkeys(_metrics(runs), pa.float64())
    rows = [
        {
            **evaluation,
            "id": run.id,
            "kind": run.kind,
            "label": labels[run.id],
            "arm": run.arm,
            "probed": run.probed,
            "seed": run.seed,
            "step": int(evaluation["step"]),
            "tokens": int(evaluation["tokens"]),
            "flops": flops(run, evaluation["tokens"]),
        }
        for run in runs
        for evaluation in run.evaluations
    ]
    return _table(rows, columns)


def parquet(table: pa.Table) -> bytes:
    """Return a table as the content of a Parquet file."""
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def _trial_row(pairing: Pairing, trial: Record) -> dict[str, object]:
    values = {f"coordinate/{key}": _text(v) for key, v in trial.coordinates.items()}
    values |= {f"tuned/{key}": _text(v) for key, v in trial.tuned.items()}
    return {
        # First: step and tokens of the row are whole numbers, and replace those of the evaluation.
        **trial.last_evaluation,
        **values,
        "id": trial.id,
        "arm": trial.arm,
        "label": pairing.labels[trial.arm],
        "is_control": trial.is_control,
        "control": trial.control,
        "seed": trial.seed,
        "state": trial.state.value,
        "is_reused": trial.is_reused,
        "run_uri": trial.run_uri,
        "num_steps": trial.num_steps,
        "step": int(trial.last_evaluation.get("step", 0)),
        "tokens": trial.tokens,
        "student_flops": trial.flops_per_token.get("student", 0.0) * trial.tokens,
        "teacher_flops": teachers_per_token(trial) * trial.tokens,
        "seconds": seconds(trial),
        "num_attempts": len(trial.attempts),
        "error": trial.error,
    }


def _metrics(runs: Iterable[Record]) -> list[str]:
    """Return the names of all metrics of evaluations, without what every table has."""
    names = {name for run in runs for evaluation in run.evaluations for name in evaluation}
    return sorted(names - {"step", "tokens"})


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(rows: Sequence[Mapping[str, object]], columns: dict[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))
