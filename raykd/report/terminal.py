"""The report in a terminal or a plain log, readable in 100 columns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from raykd.report.arms import Arm
from raykd.report.cost import Cost
from raykd.report.events import Event, EventKind
from raykd.report.grids import Cell, Grid
from raykd.report.statistics import Comparison, p_text
from raykd.report.summary import Summary
from raykd.report.units import UNKNOWN, amount, duration, number, share
from raykd.sweep.ledger import State

WIDTH = 100

_MAX_ARMS = 40
_MAX_GRIDS = 3
_MAX_COLUMNS = 7
_MAX_EVENTS = 8
_STYLES = {"better": "green", "worse": "red", "inconclusive": "dim"}


def status_line(summary: Summary) -> str:
    """Return how far a sweep is, on one line."""
    done = summary.states.get(State.DONE, 0)
    parts = [f"{summary.name}: {done} of {summary.num_trials} trials done"]
    parts += _counted(summary.states, "")
    if summary.stage_states:
        num_stages = sum(summary.stage_states.values())
        stages_done = summary.stage_states.get(State.DONE, 0)
        parts.append(f"{stages_done} of {num_stages} teachers' runs done")
        parts += _counted(summary.stage_states, " of them")
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
    by_reason: dict[str, list[str]] = {}
    for arm in arms:
        if arm.comparison is not None and arm.comparison.adjusted_p is None:
            by_reason.setdefault(arm.comparison.reason, []).append(arm.label)
    for reason, labels in by_reason.items():
        who = labels[0] if len(labels) == 1 else f"{len(labels)} arms"
        yield Text(f"not tested: {who}: {reason}")


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


def _cost_table(summary: Summary) -> list[RenderableType]:
    controls = {arm.id for arm in summary.arms if arm.is_control}
    arms = [cost for cost in summary.costs if cost.kind == "arm"]
    groups = {
        "teachers' runs": [cost for cost in summary.costs if cost.kind == "stage"],
        "controls": [cost for cost in arms if cost.id in controls],
        "other arms": [cost for cost in arms if cost.id not in controls],
        "all": [summary.total_cost],
    }
    return _table(
        "cost of this sweep",
        ["", "runs", "reused", "tokens", "FLOPs", "teachers' part", "time of runs"],
        [_cost_row(name, costs) for name, costs in groups.items() if costs],
    )


def _cost_row(name: str, costs: Sequence[Cost]) -> list[str | Text]:
    flops = sum(cost.flops for cost in costs)
    of_teachers = sum(cost.teacher_flops for cost in costs)
    return [
        name,
        str(sum(cost.num_runs for cost in costs)),
        str(sum(cost.num_reused for cost in costs)),
        amount(sum(cost.tokens for cost in costs)),
        amount(flops),
        share(of_teachers / flops if flops else None),
        duration(sum(cost.seconds for cost in costs)),
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
        is_text = index == 0 or column == "verdict"
        table.add_column(Text(column), justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return [Text(title, style="bold"), table]
