"""What stands below the verdicts in a terminal: tuned values, probes, cost and events."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from raykd.report.cost import Cost, CostKind, together
from raykd.report.events import Event, EventKind
from raykd.report.probes import ProbeCell, ProbeScores, column_title
from raykd.report.summary import Summary
from raykd.report.terminal.layout import by_reason, metric_text, table
from raykd.report.tuning import Tuning, edge_words, outcome
from raykd.report.units import amount, duration, hours, number, share

_MAX_EVENTS = 8
_MAX_GROUPS = 12
_MAX_MODELS = 40
_MAX_PROBES = 4
"""Columns of probes at most: a value takes twice the width of others, for its spread."""


def tuning_table(tuning: Tuning) -> Iterator[RenderableType]:
    """Yield the values that were tried, and what became of each."""
    yield Text()
    yield from table(
        f"values that trials go on with, by {metric_text(tuning.metric, tuning.mode)}",
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
        words=["values", "outcome"],
    )
    if (left_out := len(tuning.groups) - _MAX_GROUPS) > 0:
        yield Text(f"and {left_out} more: see the report")
    at_edge = [(edge_words(g.choice), g.label) for g in tuning.groups if g.choice.edges]
    yield from (Text(line, style="yellow") for line in by_reason(at_edge))


def probe_table(probes: ProbeScores) -> Iterator[RenderableType]:
    """Yield the scores of the models on the probes."""
    columns = probes.columns[:_MAX_PROBES]
    yield Text()
    yield from table(
        "scores of probes: mean ± standard deviation over runs",
        ["model", *(column_title(column) for column in columns)],
        [
            [row.label, *(_score_text(cell) for cell in row.cells[: len(columns)])]
            for row in probes.rows[:_MAX_MODELS]
        ],
    )
    if len(columns) < len(probes.columns) or len(probes.rows) > _MAX_MODELS:
        yield Text("the report has all models and probes")


def _score_text(cell: ProbeCell | None) -> str:
    if cell is None or cell.standard_deviation is None:
        return number(None if cell is None else cell.mean)
    return f"{number(cell.mean)} ± {number(cell.standard_deviation)}"


def cost_table(summary: Summary) -> list[RenderableType]:
    """Return what the sweep computes, by kind of run."""
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
    return table(
        "cost of this sweep",
        [
            *["", "runs", "reused", "tokens", "FLOPs", "teachers' part", "time of runs"],
            *["core-hours", "GPU-hours"],
        ],
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
        hours(cost.core_seconds),
        hours(cost.gpu_seconds),
    ]


def events(events: Sequence[Event]) -> Iterator[Text]:
    """Yield what happened beside the plan."""
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
