"""The scores of probes as metrics of the runs whose models they probe.

At the step of the probed model, an evaluation of the run has ``probe/NAME/METRIC``, the mean over
the probe's seeds, and ``probe/mean``, the mean over the probes.
"""

import bisect
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raykd.config.schema.study import PROBED, PROBES_MEAN, ProbeConfig
from raykd.sweep.record import Metrics, Record, State


def probe_metric(name: str, metric: str) -> str:
    """Return what a metric of a probe is called in the evaluations of the run that it probes."""
    return f"probe/{name}/{metric.removeprefix('eval/')}"


def probes_of(sweep: Mapping[str, Any]) -> dict[str, ProbeConfig]:
    """Return the probes of a resolved sweep file; ledgers of before have none."""
    return {name: ProbeConfig(**given) for name, given in (sweep.get("probes") or {}).items()}


def with_probe_metrics(
    sweep: Mapping[str, Any], records: Mapping[str, Record]
) -> dict[str, Record]:
    """Return the records where each probed run has the metrics of its probes that are done.

    A probe counts once it is done with all of its seeds, so that models are compared over the same
    ones. A run that was not evaluated at the step of its model gets an evaluation there which has
    these metrics alone.

    Args:
        sweep: The sweep file, resolved.
        records: Id to record, of all kinds.
    """
    probes = probes_of(sweep)
    by_model: dict[tuple[str, int], list[Record]] = {}
    for record in records.values():
        is_known = record.probed in records and record.coordinates.get("probe") in probes
        if record.kind == "probe" and record.probed is not None and is_known:
            by_model.setdefault((record.probed, record.probed_step), []).append(record)
    extended = dict(records)
    for (run, step), of_model in by_model.items():
        asked = _asked(probes, records[run], of_model)
        if metrics := _metrics(probes, of_model, asked=asked):
            extended[run] = _with_metrics(extended[run], step, metrics)
    return extended


def _asked(
    probes: Mapping[str, ProbeConfig], run: Record, of_model: Sequence[Record]
) -> Collection[str]:
    """Return the probes that a model has when all of them are there."""
    kind: PROBED = "trials"
    if run.kind == "stage":
        kind = "teachers" if "teacher" in run.coordinates else "stages"
    # By step, not by fraction: fractions that are close lead to one model of a short run.
    fractions = {record.coordinates["at"] for record in of_model}
    asked = {n for n, probe in probes.items() if kind in probe.of and fractions & {*probe.at}}
    # A run may be a teacher and a stage in one, and is called by one of them.
    return asked | {record.coordinates["probe"] for record in of_model}


def _metrics(
    probes: Mapping[str, ProbeConfig], of_model: Sequence[Record], *, asked: Collection[str]
) -> Metrics:
    metrics: Metrics = {}
    scaled: dict[str, float] = {}
    for name, probe in probes.items():
        own = _means(name, probe, [r for r in of_model if r.coordinates["probe"] == name])
        if (value := own.get(probe_metric(name, probe.metric))) is not None:
            scaled[name] = probe.scaled(value)
        metrics |= own
    if scaled and scaled.keys() == set(asked):
        metrics[PROBES_MEAN] = _mean(scaled.values())
    return metrics


def _means(name: str, probe: ProbeConfig, runs: Sequence[Record]) -> Metrics:
    """Return the metrics of one probe of one model; none until it is done with all seeds."""
    by_seed = {run.seed: run.last_evaluation for run in runs if run.state is State.DONE}
    if not by_seed.keys() >= {*probe.seeds}:
        return {}
    ends = [by_seed[seed] for seed in probe.seeds]
    return {
        probe_metric(name, key): _mean(end[key] for end in ends)
        for key in ends[0]
        if key.startswith(("eval/", "test/")) and all(key in end for end in ends)
    }


def _with_metrics(run: Record, step: int, metrics: Metrics) -> Record:
    """Return a run whose evaluation at a step has these metrics, too."""
    evaluations = list(run.evaluations)
    index = bisect.bisect_right([evaluation["step"] for evaluation in evaluations], step)
    if index and evaluations[index - 1]["step"] == step:
        evaluations[index - 1] = evaluations[index - 1] | metrics
    else:
        tokens = round(run.planned_tokens * step / run.num_steps)
        evaluations.insert(index, {"step": step, "tokens": tokens, **metrics})
    return replace(run, evaluations=tuple(evaluations))


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    # fmean raises where infinities of both signs meet.
    return statistics.fmean(known) if all(map(math.isfinite, known)) else math.nan
