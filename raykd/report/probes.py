"""What the models of a study score on its probes. Described, not tested, as languages are."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.config.schema.study import PROBES_MEAN, is_probe_metric
from raykd.report.pairing import Pairing, compared, finite
from raykd.sweep.grid.coordinates import stage_label
from raykd.sweep.probe_scores import probe_metric, probes_of
from raykd.sweep.record import Record

RowKind = Literal["stage", "control", "arm"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeColumn:
    """One metric of models at one point of their training."""

    metric: str
    """Such as probe/sst2/accuracy."""

    at: float
    """Fraction of the steps of the run that is probed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeCell:
    """What the runs of one row score; the seeds of a probe itself are averaged before."""

    mean: float
    standard_deviation: float | None
    """Sample standard deviation over the runs, with n - 1; None of one run."""

    difference: float | None
    """To the control, over pairs of trials; None for what has no control."""

    num_runs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeRow:
    """An arm, or a run of a stage."""

    kind: RowKind
    id: str
    """Id of the arm, or of the stage's run."""

    label: str
    cells: tuple[ProbeCell | None, ...]
    """In the order of the columns; None where no run has a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeScores:
    """Models by probes."""

    columns: tuple[ProbeColumn, ...]
    """Those at the end of training first; none where nothing is probed."""

    rows: tuple[ProbeRow, ...]
    """Stages that are probed, then arms that are, in the order of the plan."""


def probe_scores_of(pairing: Pairing) -> ProbeScores:
    """Return the scores of all models that are probed."""
    columns = tuple(_columns(pairing))
    steps = {
        (record.probed, float(record.coordinates["at"])): record.probed_step
        for record in pairing.ledger.records.values()
        if record.kind == "probe"
    }
    probed = {run for run, _ in steps}
    return ProbeScores(
        columns=columns,
        rows=tuple(
            ProbeRow(
                kind=kind,
                id=name,
                label=label,
                cells=tuple(_cell(pairing, runs, column, steps) for column in columns),
            )
            for kind, name, label, runs in _models(pairing)
            if any(run.id in probed for run in runs)
        ),
    )


def metric_words(metric: str) -> str:
    """Return a metric for the title of an axis: that of a probe in words, others as they are."""
    if metric == PROBES_MEAN:
        return "mean over the probes"
    if not is_probe_metric(metric):
        return metric
    _, name, own = metric.split("/", 2)
    return f"{own} of probe {name}"


def column_title(column: ProbeColumn) -> str:
    """Return the head of a column: the probe and its metric, and where, unless at the end."""
    title = column.metric.removeprefix("probe/").replace("/", " ")
    return title if column.at == 1 else f"{title} at {column.at:g}"


def _columns(pairing: Pairing) -> Iterator[ProbeColumn]:
    probes = probes_of(pairing.ledger.sweep)
    for at in sorted({at for probe in probes.values() for at in probe.at}, reverse=True):
        asked = {name: probe for name, probe in probes.items() if at in probe.at}
        for name, probe in asked.items():
            yield ProbeColumn(metric=probe_metric(name, probe.metric), at=at)
        if len(asked) > 1:
            yield ProbeColumn(metric=PROBES_MEAN, at=at)


def _models(pairing: Pairing) -> Iterator[tuple[RowKind, str, str, Sequence[Record]]]:
    """Yield what may be probed: kind, id, label and runs of each row."""
    for stage in pairing.ledger.stages:
        yield "stage", stage.id, stage_label(stage), [stage]
    for arm, trials in pairing.arms.items():
        yield "control" if trials[0].is_control else "arm", arm, pairing.labels[arm], trials


def _cell(
    pairing: Pairing,
    runs: Sequence[Record],
    column: ProbeColumn,
    steps: Mapping[tuple[str | None, float], int],
) -> ProbeCell | None:
    found = {run.id: _value(run, column, steps) for run in runs}
    values = [value for value in found.values() if value is not None]
    if not values:
        return None
    differences = []
    for run in compared(runs, pairing.ledger):
        control = pairing.ledger.records.get(run.control or "")
        if control is not None and control.id != run.id:
            own, other = found[run.id], _value(control, column, steps)
            differences += [] if own is None or other is None else [own - other]
    return ProbeCell(
        mean=statistics.fmean(values),
        standard_deviation=statistics.stdev(values) if len(values) > 1 else None,
        difference=statistics.fmean(differences) if differences else None,
        num_runs=len(values),
    )


def _value(
    run: Record, column: ProbeColumn, steps: Mapping[tuple[str | None, float], int]
) -> float | None:
    step = steps.get((run.id, column.at))
    at_step = (e.get(column.metric) for e in run.evaluations if e["step"] == step)
    return next((value for v in at_step if (value := finite(v)) is not None), None)
