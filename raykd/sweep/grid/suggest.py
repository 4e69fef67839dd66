"""Samples that Optuna suggests, each from the results of those before it.

A suggestion is a function of the sweep's seed and the results of the samples that are at least
``IN_FLIGHT`` before it, in the order of the plan. So an interrupted sweep goes on with the same
suggestions, on any number of machines.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from raykd.config.load import plain
from raykd.config.schema.search import DimensionConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError
from raykd.sweep.grid.space import Draws, drawn_dimensions, points_of
from raykd.sweep.probe_scores import with_probe_metrics
from raykd.sweep.record import Record, State

IN_FLIGHT = 4
"""Samples that are trained at the same time: so many are suggested without any result."""


def suggested_draws(sweep: SweepConfig, records: Mapping[str, Record]) -> list[Draws]:
    """Return the samples that can be suggested from what is known, from the first one on.

    Raises:
        ConfigError: Optuna is not installed.
    """
    draws: list[Draws] = []
    values: list[float | None] = []
    scored = with_probe_metrics(plain(sweep), records)
    while len(draws) < sweep.num_samples:
        # Values are taken up in the order of the plan: a result that is there early waits for
        # those before it, else the suggestions would depend on which machine was fast.
        while len(values) <= len(draws) - IN_FLIGHT:
            sample = draws[len(values)]
            trials = [r for r in scored.values() if _is_of(r, sample)]
            ids = {trial.id for trial in trials}
            probes = [r for r in scored.values() if r.probed in ids]
            # A sample whose points are all excluded never has a trial, and is worth None.
            is_waited_for = not trials and points_of(sweep, sample)
            if is_waited_for or not all(r.state.is_terminal for r in (*trials, *probes)):
                return draws
            values.append(_value(sweep, trials))
        draws.append(_suggested(sweep, draws, values))
    return draws


def _suggested(
    sweep: SweepConfig, draws: Sequence[Draws], values: Sequence[float | None]
) -> dict[str, Any]:
    """Return the sample after some, of whose first ones the values are known; None failed."""
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    dimensions = drawn_dimensions(sweep)
    distributions = {key: _distribution(d) for key, d in dimensions.items()}
    # In memory, made anew from the results for each suggestion: the ledger is the only state, and
    # an interrupted sweep has no second one to bring in line with it.
    study = optuna.create_study(
        direction="maximize" if sweep.mode == "max" else "minimize",
        # With one seed for all, those that are suggested from the same results would be equal.
        sampler=optuna.samplers.TPESampler(seed=sweep.seed + len(draws)),
    )
    states = optuna.trial.TrialState
    for sample, value in zip(draws, values, strict=False):
        study.add_trial(
            optuna.trial.create_trial(
                params={key: _as_param(dimensions[key], given) for key, given in sample.items()},
                distributions=distributions,
                value=value,
                # A failed trial has no value, and TPE leaves it out of its model.
                state=states.FAIL if value is None else states.COMPLETE,
            )
        )
    params = study.ask(distributions).params
    return {key: _from_param(dimensions[key], param) for key, param in params.items()}


def _distribution(dimension: DimensionConfig) -> Any:
    optuna = _optuna()
    if dimension.choice is not None:
        # By index: Optuna's own choices cannot be sections.
        return optuna.distributions.CategoricalDistribution(range(len(dimension.choice)))
    low, high = dimension.uniform or dimension.log_uniform or (0.0, 1.0)
    return optuna.distributions.FloatDistribution(low, high, log=dimension.log_uniform is not None)


def _as_param(dimension: DimensionConfig, value: object) -> object:
    return value if dimension.choice is None else dimension.choice.index(value)


def _from_param(dimension: DimensionConfig, param: Any) -> object:
    return param if dimension.choice is None else dimension.choice[param]


def _is_of(record: Record, sample: Draws) -> bool:
    """Tell whether a trial is of a sample, and says how good its values are."""
    same = all(record.coordinates.get(key) == value for key, value in sample.items())
    return record.kind == "trial" and same and not record.is_control


def _value(sweep: SweepConfig, trials: Sequence[Record]) -> float | None:
    """Return the mean metric of a sample's trials, of a stopped one that at its rung."""
    values = [
        record.stop.value
        if record.stop is not None
        else record.last_evaluation.get(sweep.metric, math.nan)
        for record in trials
        # How far a stopped one trained beyond its rung depends on the machines.
        if record.state in (State.DONE, State.STOPPED)
    ]
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else None


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415  it is an extra
    except ImportError as error:
        message = "searcher=optuna needs Optuna: pip install 'raykd[optuna]'"
        raise ConfigError(message) from error
    return optuna
