"""The metric by language, for each arm. Described, not tested: a verdict needs fewer questions."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from raykd.config.schema.data import SEEN, UNSEEN
from raykd.config.schema.study import is_probe_metric
from raykd.report.pairing import Pairing, final
from raykd.sweep.record import Record

_GROUPS = (SEEN, UNSEEN)


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
    """The languages that are trained on together and the others, where there are such; then the
    codes of the languages, marked where no arm trains on one. None where the evaluations are in
    one language."""

    rows: tuple[LanguageRow, ...]


def languages_of(pairing: Pairing) -> Languages:
    """Return the metric by language of each arm."""
    place, name = _parts(pairing.metric)
    metric = "/".join([*place, *name])
    trials = [trial for arm in pairing.arms.values() for trial in arm]
    given = {key for trial in trials for key in trial.last_evaluation}
    # A probe has languages of its own.
    unseen = set() if is_probe_metric(metric) else _unseen(trials)
    columns = {
        group: key for group in _GROUPS if (key := "/".join([*place, group, *name])) in given
    }
    for key in language_metrics(pairing):
        code = key.removeprefix(f"{metric}/")
        columns[f"{code} (unseen)" if code in unseen else code] = key
    rows = (
        LanguageRow(arm=arm, cells=tuple(_cell(pairing, arm, key) for key in columns.values()))
        for arm in pairing.arms
    )
    return Languages(metric=metric, names=tuple(columns), rows=tuple(rows) if columns else ())


def language_metrics(pairing: Pairing) -> list[str]:
    """Return the metric of each single language, such as eval/accuracy/de."""
    metric = "/".join(part for parts in _parts(pairing.metric) for part in parts)
    evaluations = (trial.last_evaluation for arm in pairing.arms.values() for trial in arm)
    return sorted({key for given in evaluations for key in given if key.startswith(f"{metric}/")})


def _unseen(trials: Sequence[Record]) -> set[str]:
    """Return the languages that every trial evaluates, and says not to train on."""
    sections = [trial.config.get("data", {}) for trial in trials]
    # Where data.languages is null it is the data that says which are trained on.
    unseen = [
        set(data.get("eval_languages") or ()) - set(data["languages"])
        if data.get("languages")
        else set()
        for data in sections
    ]
    return set.intersection(*unseen) if unseen else set()


def _parts(metric: str) -> tuple[list[str], list[str]]:
    """Return whose a metric is and its name, if it has one, over all languages.

    Those of eval/accuracy/de and eval/unseen/accuracy are eval and accuracy; of
    probe/NAME/accuracy and probe/NAME/test/accuracy what is before the last.
    """
    parts = metric.split("/")
    length = 1
    if is_probe_metric(metric):
        # A probe's own metrics are no languages.
        length = 3 if "test" in parts[2:3] else 2
    return parts[:length], [part for part in parts[length:] if part not in _GROUPS][:1]


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
