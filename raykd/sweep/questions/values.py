"""What a question takes of the runs: a number of each, and their weighted sum for each seed."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from raykd.config.schema.study import is_probe_metric
from raykd.steps import milestone_steps
from raykd.sweep.questions.contrast import Contrast, Measure
from raykd.sweep.record import Metrics, Record, State

_WORST = "worst"

_Runs = Mapping[tuple[str, int], Record]
"""Arm and seed to the trial."""


def value_of(run: Record, measure: Measure) -> float | None:
    """Return the number of a run that is done.

    None where it is not done, has no such metric or no finite one, and never reaches steps_to.
    """
    if run.state is not State.DONE:
        return None
    known = [
        (evaluation["step"], value)
        for evaluation in run.evaluations
        if (value := _metric(evaluation, measure)) is not None
    ]
    if measure.steps_to is not None:
        sign = 1 if measure.mode == "max" else -1
        return next((s for s, v in known if sign * v >= sign * measure.steps_to), None)
    if measure.area:
        return _finite(_area(known))
    # As models are kept to be probed at a fraction.
    (step,) = milestone_steps((measure.at,), run.num_steps)
    return _finite(next((value for at, value in known if at >= step), None))


def seeds_of(contrast: Contrast, records: Iterable[Record]) -> list[int]:
    """Return the seeds that every arm has, done or not, in the order of the plan."""
    has = Counter(seed for _, seed in _runs_of(contrast, records))
    num_arms = len({weight.arm for weight in contrast.weights})
    return [seed for seed, number in has.items() if number == num_arms]


def differences_of(contrast: Contrast, records: Iterable[Record]) -> dict[int, float]:
    """Return what is asked about, by seed, where every run has its number.

    Args:
        contrast: The weighted sum.
        records: Of the study; runs that are probed have the metrics of their probes, see
            ``raykd.sweep.probe_scores``.
    """
    records = list(records)
    runs = _runs_of(contrast, records)
    differences = {}
    for seed in seeds_of(contrast, records):
        values = [value_of(runs[w.arm, seed], w.measure) for w in contrast.weights]
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            weighted = (w.weight * v for w, v in zip(contrast.weights, known, strict=True))
            differences[seed] = math.fsum(weighted) - contrast.minus
    return differences


def missing(contrast: Contrast, records: Iterable[Record], seeds: Collection[int]) -> str | None:
    """Return why some of the seeds give no difference, in words; None where all do."""
    runs = _runs_of(contrast, records)
    lacking = [reason for seed in seeds if (reason := _reason(contrast, runs, seed)) is not None]
    if not lacking:
        return None
    # Reasons, and not a number: whether it will come decides whether to wait for it.
    listed = ", ".join(f"{number} {reason}" for reason, number in Counter(lacking).items())
    return f"{len(lacking)} of {len(seeds)} seeds missing: {listed}"


def _runs_of(contrast: Contrast, records: Iterable[Record]) -> _Runs:
    arms = {weight.arm for weight in contrast.weights}
    return {(r.arm, r.seed): r for r in records if r.kind == "trial" and r.arm in arms}


def _reason(contrast: Contrast, runs: _Runs, seed: int) -> str | None:
    """Return why a seed gives no difference: of its first run that has no number."""
    for weight in contrast.weights:
        measure, run = weight.measure, runs.get((weight.arm, seed))
        if run is None:
            return "not in the study"
        if value_of(run, measure) is not None:
            continue
        if run.state is not State.DONE:
            return run.state.value
        if measure.steps_to is not None:
            return f"never reaches {measure.steps_to:g}"
        if is_probe_metric(measure.metric):
            return "not fully probed"
        return f"without a finite {measure.metric}"
    return None


def _metric(evaluation: Metrics, measure: Measure) -> float | None:
    """Return a metric of an evaluation; of languages the worst."""
    head, is_of_worst, name = measure.metric.partition(f"/{_WORST}/")
    if not is_of_worst:
        return evaluation.get(measure.metric)
    values = [value for key, value in evaluation.items() if key.startswith(f"{head}/{name}/")]
    if not values or not all(map(math.isfinite, values)):
        return None
    return min(values) if measure.mode == "max" else max(values)


def _area(known: list[tuple[float, float]]) -> float | None:
    """Return the mean over steps, linear between them; None of fewer than two."""
    if len(known) < 2:  # noqa: PLR2004  an area has two sides
        return None
    parts = ((b - a) * (u + v) / 2 for (a, u), (b, v) in itertools.pairwise(known))
    return math.fsum(parts) / (known[-1][0] - known[0][0])


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
