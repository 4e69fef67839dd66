"""Studies on paper: a grid of arms, each with the numbers that one gives it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raykd.config.load import checked_sweep, plain
from raykd.sweep.record import Record, State

from tests.sweeps import evaluations_of, trial_of

Coordinates = Mapping[str, Any]

SCORE = "eval/accuracy"

WEIGHT = "losses.forward_kl.weight"

SEEDS = (1, 2, 3)


def sweep_of(
    questions: Mapping[str, Any],
    *,
    metric: str = SCORE,
    mode: str = "max",
    seeds: Sequence[int] = SEEDS,
    **given: Any,
) -> dict[str, Any]:
    """Return a sweep file that asks these questions, as the ledger has it."""
    file = {
        "name": "study",
        "base": "base.yaml",
        "metric": metric,
        "mode": mode,
        "seeds": list(seeds),
        "questions": dict(questions),
        **given,
    }
    return plain(checked_sweep(file, origin="sweep.yaml"))


def grid(**axes: Sequence[Any]) -> list[dict[str, Any]]:
    """Return every combination of some coordinates; weight is that of a loss."""
    points: list[dict[str, Any]] = [{}]
    for name, values in axes.items():
        key = WEIGHT if name == "weight" else name
        points = [{**point, key: value} for point in points for value in values]
    return points


def study_of(
    points: Iterable[Coordinates],
    score: Callable[[Coordinates, int], float | None] = lambda _point, seed: float(seed),
    *,
    seeds: Sequence[int] = SEEDS,
    metric: str = SCORE,
) -> dict[str, Record]:
    """Return the trials of points, each with one evaluation at its end.

    A point whose weight is 0 is the control of those that differ from it in teacher and weight;
    without such points, they have a control beside the grid, with weight 0 and no teacher.

    Args:
        points: The grid.
        score: Point and seed to the metric; None where the trial is not done.
        seeds: Of every arm.
        metric: What the score is of.
    """
    records: dict[str, Record] = {}
    for seed in seeds:
        for point in points:
            kept = {k: v for k, v in point.items() if k not in (WEIGHT, "teacher", "quality")}
            known = records.get(trial_of(kept, seed=seed, is_control=True).id)
            of_control = {**kept, WEIGHT: 0}
            control = known or _trial(kept, of_control, seed, score, metric, is_control=True)
            if point.get(WEIGHT) == 0:
                control = replace(control, points=(*control.points, dict(point)))
            else:
                trial = _trial(point, point, seed, score, metric, control=control)
                records[trial.id] = trial
            records[control.id] = control
    return records


def _trial(
    coordinates: Coordinates,
    point: Coordinates,
    seed: int,
    score: Callable[[Coordinates, int], float | None],
    metric: str,
    **given: Any,
) -> Record:
    value = score(point, seed)
    return trial_of(
        coordinates,
        seed=seed,
        evaluations=() if value is None else evaluations_of([value], metric=metric),
        state=State.RUNNING if value is None else State.DONE,
        **given,
    )
