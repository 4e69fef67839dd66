"""The metric by language, for each arm. Described, not tested: a verdict needs fewer questions."""

import statistics
from dataclasses import dataclass

from raykd.config.schema.study import is_probe_metric
from raykd.report.pairing import Pairing, final


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageCell:
    """One arm in one language."""

    mean: float
    """Mean of the metric at the end, over trials that are done."""

    difference: float | None
    """To the control, over pairs of trials; None for a control and without pairs."""

    num_trials: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageRow:
    """One arm."""

    arm: str
    cells: tuple[LanguageCell | None, ...]
    """In the order of the languages; None where no trial has a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Languages:
    """The metric by language."""

    metric: str
    """Without the language, such as eval/accuracy."""

    names: tuple[str, ...]
    """Codes of the languages; none where the evaluations are in one."""

    rows: tuple[LanguageRow, ...]


def languages_of(pairing: Pairing) -> Languages:
    """Return the metric by language of each arm."""
    metric = _over_all(pairing.metric)
    keys = {
        key
        for trials in pairing.arms.values()
        for trial in trials
        for key in trial.last_evaluation
        if key.startswith(f"{metric}/")
    }
    names = tuple(sorted(key.removeprefix(f"{metric}/") for key in keys))
    rows = (
        LanguageRow(
            arm=arm, cells=tuple(_cell(pairing, arm, f"{metric}/{name}") for name in names)
        )
        for arm in pairing.arms
    )
    return Languages(metric=metric, names=names, rows=tuple(rows) if names else ())


def _over_all(metric: str) -> str:
    """Return a metric without its language: eval/accuracy of eval/accuracy/de."""
    parts = metric.split("/")
    if not is_probe_metric(metric):
        return "/".join(parts[:2])
    # probe/NAME/accuracy, or probe/NAME/test/accuracy: the probe's own metrics are no languages.
    return "/".join(parts[: 4 if "test" in parts[2:3] else 3])


def _cell(pairing: Pairing, arm: str, metric: str) -> LanguageCell | None:
    finals = [final(trial, metric) for trial in pairing.arms[arm]]
    values = [value for value in finals if value is not None]
    if not values:
        return None
    differences = pairing.differences(arm, metric) if arm in pairing.pairs else {}
    return LanguageCell(
        mean=statistics.fmean(values),
        difference=statistics.fmean(differences.values()) if differences else None,
        num_trials=len(values),
    )
