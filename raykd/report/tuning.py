"""Which values were tried before arms are compared, and which of them trials go on with."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from raykd.config.schema.study import TuneConfig
from raykd.sweep.grid.coordinates import (
    arm_labels,
    coordinates_of,
    short_keys,
    tuned_texts,
)
from raykd.sweep.ledger import Ledger
from raykd.sweep.tuning import Choice, TriedValue, choices_of, group_of


@dataclass(frozen=True, kw_only=True, slots=True)
class TunedGroup:
    """Arms, or their controls, that share a choice."""

    label: str
    """The coordinates that they have in common, in short."""

    choice: Choice


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What is chosen before arms are compared."""

    metric: str
    mode: Literal["min", "max"]
    candidates: tuple[dict[str, Any], ...]
    """Tuned key to value."""

    texts: tuple[str, ...]
    """The candidates in short."""

    groups: tuple[TunedGroup, ...]
    """In the order of the plan."""

    def text(self, tuned: dict[str, Any]) -> str:
        """Return a candidate in short."""
        return self.texts[self.candidates.index(tuned)]


def outcome(choice: Choice, tried: TriedValue) -> str:
    """Return what became of a value in a word or two; empty for one that was not the best."""
    if tried.tuned == choice.chosen:
        return "chosen"
    if tried.num_failed:
        return f"{tried.num_failed} of {tried.num_runs} failed"
    return "" if tried.mean is not None else "not over"


def edge_words(choice: Choice) -> str:
    """Return what to bear in mind with a choice; empty where there is nothing."""
    if not choice.edges:
        return ""
    names = short_keys(choice.chosen or {})
    keys = " and ".join(names[key] for key in choice.edges)
    return f"{keys} at the edge of the values: the best may lie beyond"


def tuning_of(ledger: Ledger) -> Tuning | None:
    """Return what a sweep tunes; None where it tunes nothing."""
    if (given := ledger.sweep.get("tune")) is None:
        return None
    tune = TuneConfig(**given)
    metric: str = tune.metric or ledger.sweep["metric"]
    mode: Literal["min", "max"] = tune.mode or ledger.sweep["mode"]
    choices = choices_of(tune, ledger.records.values(), metric=metric, mode=mode)
    labelled = {}
    for run in ledger.records.values():
        if run.kind == "tuning":
            group = group_of(tune, run.coordinates, is_control=run.is_control)
            labelled[group] = replace(run, coordinates=choices[group].coordinates)
    labels = arm_labels(labelled, coordinates_of(labelled))
    return Tuning(
        metric=metric,
        mode=mode,
        candidates=tuple(tune.candidates),
        texts=tuple(tuned_texts(tune.candidates)),
        groups=tuple(
            TunedGroup(label=labels[group], choice=choice) for group, choice in choices.items()
        ),
    )
