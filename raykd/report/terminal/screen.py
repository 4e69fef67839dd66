"""The whole report in a terminal or a plain log."""

from rich.console import Group, RenderableType
from rich.text import Text

from raykd.report.summary import Summary
from raykd.report.terminal.answers import answers_line, questions
from raykd.report.terminal.arms import grid_table, verdicts
from raykd.report.terminal.details import cost_table, events, probe_table, tuning_table
from raykd.report.terminal.efficiency import efficiency_tables
from raykd.sweep.record import State

_MAX_GRIDS = 3
_MAX_COLUMNS = 7


def status_line(summary: Summary) -> str:
    """Return how far a sweep is and what it answers, on one line."""
    done = summary.states.get(State.DONE, 0)
    answers = answers_line(summary.answers)
    trials = f"{done} of {summary.num_trials} trials done"
    parts = [f"{summary.name}: {answers}; {trials}" if answers else f"{summary.name}: {trials}"]
    parts += _counted(summary.states, "")
    for name, states in summary.other_states.items():
        parts.append(f"{states.get(State.DONE, 0)} of {sum(states.values())} {name} done")
        parts += _counted(states, " of them")
    return ", ".join([*parts, str(summary.standing)])


def terminal_report(summary: Summary, *, page_uri: str) -> Group:
    """Return the report: status, answers, verdicts, heat maps, cost, events, where the page is."""
    # Text and not str throughout: rich reads [x] in a str as markup, and names may hold brackets.
    parts: list[RenderableType] = [Text(status_line(summary), style="bold")]
    parts += [Text(summary.standing.text, overflow="fold")] if summary.standing.text else []
    parts += [Text(), *questions(summary)] if summary.answers else []
    parts += [Text(), *verdicts(summary)]
    for grid in [g for g in summary.grids if len(g.columns) <= _MAX_COLUMNS][:_MAX_GRIDS]:
        parts += [Text(), *grid_table(grid)]
    parts += tuning_table(summary.tuning) if summary.tuning else []
    parts += probe_table(summary.probes) if summary.probes.rows else []
    parts += [Text(), *cost_table(summary)]
    for section in efficiency_tables(summary.sizes, summary.frontier, metric=summary.metric):
        parts += [Text(), *section]
    parts += events(summary.events)
    parts += [Text(), Text(f"report: {page_uri}", no_wrap=True, overflow="ignore")]
    return Group(*parts)


def _counted(states: dict[State, int], suffix: str) -> list[str]:
    return [f"{states[s]} {s.value}{suffix}" for s in State if s is not State.DONE and s in states]
