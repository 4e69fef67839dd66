"""The report in a terminal or a plain log, readable in 100 columns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raykd.report.arms import Arm
from raykd.report.cost import Cost, CostKind, together
from raykd.report.events import Event, EventKind
from raykd.report.grids import Cell, Grid
from raykd.report.probes import ProbeCell, ProbeScores, column_title
from raykd.report.statistics import Comparison, p_text
from raykd.report.summary import Summary
from raykd.report.tuning import Tuning, edge_words, outcome
from raykd.report.units import UNKNOWN, amount, duration, number, share
from raykd.sweep.ledger import State

WIDTH = 100

_MAX_ARMS = 40
_MAX_GRIDS = 3
_MAX_COLUMNS = 7
_MAX_EVENTS = 8
_MAX_GROUPS = 12
_MAX_PROBES = 4
"""Columns of probes at most: a value takes twice the width of others, for its spread."""

_STYLES = {"better": "green", "worse": "red", "inconclusive": "dim"}


def status_line(summary: Summary) -> str:
    """Return how far a sweep is, on one line."""
    done = summary.states.get(State.DONE, 0)
    parts = [f"{summary.name}: {done} of {summary.num_trials} trials done"]
    parts += _counted(summary.states, "")
    for name, states in summary.other_states.items():
        parts.append(f"{states.get(State.DONE, 0)} of {sum(states.values())} {name} done")
        parts += _counted(states, " of them")
    return ", ".join([*parts, str(summary.standing)])


def terminal_report(summary: Summary, *, page_uri: str) -> Group:
    """Return the report: status, verdicts, heat maps, cost, events, and where the page is."""
    # Text and not str throughout: rich reads [x] in a str as markup, and names may hold brackets.
    parts: list[RenderableType] = [Text(status_line(summary), style="bold")]
    parts += [Text(summary.standing.text, overflow="fold")] if summary.standing.text else []
    parts.append(Text())
    parts += _verdicts(summary)
    for grid in [g for g in summary.grids if len(g.columns) <= _MAX_COLUMNS][:_MAX_GRIDS]:
        parts += [Text(), *_grid_table(grid)]
    parts += _tuning_table(summary.tuning) if summary.tuning else []
    parts += _probe_table(summary.probes) if summary.probes.rows else []
    parts += [Text(), *_cost_table(summary), *_events(summary.events)]
    parts += [Text(), Text(f"report: {page_uri}", no_wrap=True, overflow="ignore")]
    return Group(*parts)


def _counted(states: dict[State, int], suffix: str) -> list[str]:
    return [f"{states[s]} {s.value}{suffix}" for s in State if s is not State.DONE and s in states]


def _verdicts(summary: Summary) -> Iterator[RenderableType]:
    better = "less" if summary.mode == "min" else "more"
    arms = _shown(summary)
    yield from _table(
        f"{summary.metric} ({better} is better)",
        ["arm", "seeds", "mean", "difference", "95 % interval", "adj. p", "verdict"],
        [_arm_row(arm) for arm in arms],
    )
    if len(arms) < len(summary.arms):
        yield Text(f"the best {len(arms)} of {len(summary.arms)} arms; the report has all")
    yield from _not_ready(summary.arms)
    if summary.caution:
        yield Text(summary.caution, style="yellow")
    yield Text()
    yield Text(summary.rule, style="dim")


def _shown(summary: Summary) -> list[Arm]:
    """Return the arms there is room for, in the order of the plan: controls, then the best."""
    direction = 1 if summary.mode == "min" else -1

    def rank(arm: Arm) -> tuple[bool, bool, float]:
        mean = None if arm.comparison is None else arm.comparison.mean
        # Controls first, those without a difference last.
        return not arm.is_control, mean is None, direction * (mean or 0.0)

    best = {arm.id for arm in sorted(summary.arms, key=rank)[:_MAX_ARMS]}
    return [arm for arm in summary.arms if arm.id in best]


def _arm_row(arm: Arm) -> list[str | Text]:
    compared = arm.comparison
    if compared is None:
        seeds = f"{len(arm.values)}/{arm.num_trials}"
        return [arm.label, seeds, number(arm.mean), *[UNKNOWN] * 4]
    return [
        arm.label,
        f"{compared.num_pairs}/{compared.num_planned}",
        number(arm.mean),
        number(compared.mean, sign="+"),
        _interval(compared),
        p_text(compared.adjusted_p),
        Text(compared.verdict, style=_STYLES[compared.verdict]),
    ]


def _interval(compared: Comparison) -> str:
    if compared.low is None:
        return UNKNOWN
    return f"{number(compared.low, sign='+')} to {number(compared.high, sign='+')}"


def _not_ready(arms: Iterable[Arm]) -> Iterator[Text]:
    """Name the arms that no test was made for, by reason."""
    untested = [
        (arm.comparison.reason, arm.label)
        for arm in arms
        if arm.comparison is not None and arm.comparison.adjusted_p is None
    ]
    return (Text(f"not tested: {line}") for line in _by_reason(untested))


def _by_reason(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each reason: whose it is, or how many have it."""
    by_reason: dict[str, list[str]] = {}
    for reason, label in told:
        by_reason.setdefault(reason, []).append(label)
    for reason, labels in by_reason.items():
        who = labels[0] if len(labels) == 1 else f"{len(labels)} arms"
        yield f"{who}: {reason}"


def _grid_table(grid: Grid) -> list[RenderableType]:
    return _table(
        f"difference to the control (pairs): {grid.row_name} by {grid.column_name}",
        ["", *grid.columns],
        [
            [row, *(_cell_text(cell) for cell in cells)]
            for row, cells in zip(grid.rows, grid.cells, strict=True)
        ],
    )


def _cell_text(cell: Cell | None) -> str:
    return UNKNOWN if cell is None else f"{number(cell.difference, sign='+')} ({cell.num_pairs})"


def _tuning_table(tuning: Tuning) -> Iterator[RenderableType]:
    better = "less" if tuning.mode == "min" else "more"
    yield Text()
    yield from _table(
        f"values that trials go on with, by {tuning.metric} ({better} is better)",
        ["arms", "values", "runs", "mean", "outcome"],
        [
            [
                group.label if index == 0 else "",
                tuning.text(tried.tuned),
                str(tried.num_runs),
                number(tried.mean),
                outcome(group.choice, tried),
            ]
            for group in tuning.groups[:_MAX_GROUPS]
            for index, tried in enumerate(group.choice.tried)
        ],
    )
    if (left_out := len(tuning.groups) - _MAX_GROUPS) > 0:
        yield Text(f"and {left_out} more: see the report")
    at_edge = [(edge_words(g.choice), g.label) for g in tuning.groups if g.choice.edges]
    yield from (Text(line, style="yellow") for line in _by_reason(at_edge))


def _probe_table(probes: ProbeScores) -> Iterator[RenderableType]:
    columns = probes.columns[:_MAX_PROBES]
    yield Text()
    yield from _table(
        "scores of probes: mean ± standard deviation over runs",
        ["model", *(column_title(column) for column in columns)],
        [
            [row.label, *(_score_text(cell) for cell in row.cells[: len(columns)])]
            for row in probes.rows[:_MAX_ARMS]
        ],
    )
    if len(columns) < len(probes.columns) or len(probes.rows) > _MAX_ARMS:
        yield Text("the report has all models and probes")


def _score_text(cell: ProbeCell | None) -> str:
    if cell is None or cell.standard_deviation is None:
        return number(None if cell is None else cell.mean)
    return f"{number(cell.mean)} ± {number(cell.standard_deviation)}"


def _cost_table(summary: Summary) -> list[RenderableType]:
    controls = {arm.id for arm in summary.arms if arm.is_control}
    by_kind: dict[CostKind, list[Cost]] = {}
    for cost in summary.costs:
        by_kind.setdefault(cost.kind, []).append(cost)
    arms = by_kind.get("arm", [])
    groups = {
        summary.stage_word: by_kind.get("stage", []),
        "tuning": by_kind.get("tuning", []),
        "controls": [cost for cost in arms if cost.id in controls],
        "other arms": [cost for cost in arms if cost.id not in controls],
        "probes": by_kind.get("probe", []),
        "all": [summary.total_cost],
    }
    return _table(
        "cost of this sweep",
        ["", "runs", "reused", "tokens", "FLOPs", "teachers' part", "time of runs"],
        [_cost_row(together(costs, label=name)) for name, costs in groups.items() if costs],
    )


def _cost_row(cost: Cost) -> list[str | Text]:
    return [
        cost.label,
        str(cost.num_runs),
        str(cost.num_reused),
        amount(cost.tokens),
        amount(cost.flops),
        share(cost.teacher_share),
        duration(cost.seconds),
    ]


def _events(events: Sequence[Event]) -> Iterator[Text]:
    if not events:
        return
    counts = Counter(event.kind for event in events)
    listed = (f"{counts[kind]} {kind.value}" for kind in EventKind if kind in counts)
    yield Text()
    yield Text(f"events: {', '.join(listed)}", style="bold")
    told = [event for event in events if event.kind is not EventKind.REUSED]
    for event in told[:_MAX_EVENTS]:
        yield Text(f"{event.kind.value} {event.label}: {event.text}", overflow="fold")
        if event.kind is EventKind.FAILED:
            yield Text(f"  {event.run_uri}", overflow="fold")
    if len(told) > _MAX_EVENTS:
        yield Text(f"and {len(told) - _MAX_EVENTS} more: see the report")


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]
) -> list[RenderableType]:
    """Return a title and a table; texts are shown as they are, brackets too."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        is_text = index == 0 or column in ("verdict", "values", "outcome")
        table.add_column(Text(column), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return [Text(title, style="bold"), table]
