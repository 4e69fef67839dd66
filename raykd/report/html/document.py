"""The page: what is in it, in the order in which a researcher asks.

Guaranteed: all text of a sweep is escaped, and the page of a thousand trials stays small, because
what is drawn is capped; where something is left out, the page says so.
"""

import datetime
from dataclasses import dataclass

import jinja2

from raykd.config.yaml_text import write_yaml
from raykd.report.html.answers import Answered, answered
from raykd.report.html.evidence import Evidence, evidence_ids, evidence_of
from raykd.report.html.frontier import frontier_figures
from raykd.report.html.heat_maps import heat_map, language_table
from raykd.report.html.learning_curves import learning_curves
from raykd.report.html.panels import Panels
from raykd.report.html.quality_figures import quality_figures, quality_table
from raykd.report.html.sizes import size_table
from raykd.report.html.spending import cost_table, event_table, target_table
from raykd.report.html.study_tables import aggregate_table, probe_table, tuning_table
from raykd.report.html.tables import Table
from raykd.report.html.verdicts import MAX_ARMS, Verdicts, ranked, verdicts
from raykd.report.html.words import Word, words
from raykd.report.summary import ANSWERS_RULE, Summary
from raykd.sweep.record import State

_STANDINGS = {"going": "In progress", "stopped": "Stopped", "dead": "Not going on"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """How many trials are in a state."""

    state: str
    count: int
    percent: float
    """Part of the bar's width, from 0 to 100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """All that the template shows; a part without anything to say is None or empty."""

    answered: Answered | None
    evidence: tuple[Evidence, ...]
    verdicts: Verdicts
    words: tuple[Word, ...]
    heat_maps: tuple[Table, ...]
    qualities: Panels
    quality_table: Table | None
    probes: Table | None
    tuning: Table | None
    curves: Panels
    languages: Table | None
    aggregates: Table | None
    cost: Table
    frontier: Panels
    sizes: Table | None
    targets: Table | None
    events: Table | None


def page(summary: Summary, *, refresh_seconds: int | None) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        summary: What the sweep found.
        refresh_seconds: After so long the browser loads the page again; None for never.
    """
    template = _environment().get_template("page.html.jinja")
    return template.render(
        summary=summary,
        contents=_contents(summary),
        answers_rule=ANSWERS_RULE,
        state=state_line(summary),
        shares=_shares(summary),
        others={
            "Teachers trained" if name == "teachers' runs" else name.capitalize(): _counts(states)
            for name, states in summary.other_states.items()
        },
        written_at=datetime.datetime.fromtimestamp(summary.written_at, tz=datetime.UTC),
        sweep_yaml=write_yaml(summary.sweep),
        refresh_seconds=refresh_seconds,
    )


def state_line(summary: Summary) -> str:
    """Return how far the sweep is, in a few words."""
    ended = sum(count for state, count in summary.states.items() if state.is_terminal)
    trials = f"{summary.num_trials} trial{'s'[: summary.num_trials != 1]}"
    standing = _STANDINGS.get(summary.standing.kind, "Over")
    if not summary.num_trials:
        # Before values are chosen, a study may have none yet.
        return f"{standing}: no trials yet" if summary.other_states else "No trials"
    if summary.is_over:
        return f"Over: {trials}, {_counts(summary.states)}"
    return f"{standing}: {ended} of {trials} ended, {_counts(summary.states)}"


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("raykd.report.html"),
        # Names of arms, errors and URIs come from users and libraries: none of them is HTML.
        autoescape=True,
        # A name that the template misspells fails, where it would be an empty hole by default.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _contents(summary: Summary) -> Contents:
    names = {arm.id: arm.label for arm in summary.arms}
    best_first = ranked(summary.arms, summary.mode)
    metric, mode = summary.metric, summary.mode
    languages = language_table(summary.languages, best_first, mode=mode, names=names)
    qualities = quality_figures(summary)
    return Contents(
        answered=answered(summary.answers, metric=metric, links=evidence_ids(summary.answers))
        if summary.answers
        else None,
        evidence=evidence_of(summary, linked={arm.id for arm in best_first[:MAX_ARMS]}),
        verdicts=verdicts(summary.arms, metric=metric, mode=mode),
        words=words(summary),
        heat_maps=tuple(heat_map(grid, metric=metric, mode=mode) for grid in summary.grids),
        qualities=qualities,
        quality_table=quality_table(summary.qualities)
        if summary.qualities and not qualities.panels
        else None,
        probes=probe_table(summary.probes) if summary.probes.rows else None,
        tuning=tuning_table(summary.tuning) if summary.tuning and summary.tuning.groups else None,
        curves=learning_curves(summary),
        languages=languages if languages.rows else None,
        aggregates=aggregate_table(summary.aggregates, names) if summary.aggregates else None,
        cost=cost_table(summary.costs, summary.total_cost),
        frontier=frontier_figures(summary),
        sizes=size_table(summary.sizes) if summary.sizes.rows else None,
        targets=target_table(summary.to_target, names) if summary.to_target else None,
        events=event_table(summary.events) if summary.events else None,
    )


def _shares(summary: Summary) -> tuple[Share, ...]:
    return tuple(
        Share(state=state.value, count=count, percent=round(100 * count / summary.num_trials, 2))
        for state in (State.DONE, State.STOPPED, State.FAILED, State.BLOCKED, State.RUNNING)
        if (count := summary.states.get(state, 0))
    )


def _counts(states: dict[State, int]) -> str:
    return ", ".join(f"{states[state]} {state.value}" for state in State if states.get(state))
