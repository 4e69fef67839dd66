"""Tables of what was spent, how soon arms reach their control, and what happened to runs."""

from collections.abc import Sequence

from raykd.report.cost import Cost, CostKind, together
from raykd.report.events import Event
from raykd.report.html.tables import Cell, Column, Row, Table, decimals_for, fixed, texts
from raykd.report.targets import ToTarget
from raykd.report.units import UNKNOWN, amount, duration, hours, share

MAX_COSTS = 400
MAX_TARGETS = 400
MAX_EVENTS = 300
_MAX_ERROR = 600


def cost_table(costs: Sequence[Cost], total: Cost) -> Table:
    """Return what stages, tuning, arms and probes cost, the whole first, then each kind."""
    shown = costs[:MAX_COSTS]
    kinds = _by_kind(costs)
    return Table(
        caption="Cost of training; a run that was there before costs nothing here",
        columns=(
            Column(text="Arm or stage", is_number=False),
            Column(text="Runs"),
            Column(text="Reused"),
            Column(text="Tokens"),
            Column(text="FLOPs"),
            Column(text="Teachers' share"),
            Column(text="Time of all attempts"),
            Column(text="Core-hours"),
            Column(text="GPU-hours"),
            Column(text="FLOPs saved by reuse"),
        ),
        rows=(
            _cost(total, head="Whole sweep", css="total"),
            *(_cost(cost, css="total") for cost in kinds),
            *(_cost(cost) for cost in shown),
        ),
        css="cards",
        note=_left_out(len(costs), len(shown), "rows"),
    )


def target_table(targets: Sequence[ToTarget], names: dict[str, str]) -> Table:
    """Return how soon arms are as good as their control ends.

    Args:
        targets: One for each arm.
        names: Arm to its label.
    """
    shown = targets[:MAX_TARGETS]
    decimals = decimals_for(t.target for t in targets)
    return Table(
        caption="First evaluation at or past the control's final value, median over pairs",
        columns=(
            Column(text="Arm", is_number=False),
            Column(text="Target"),
            Column(text="Pairs that reach it"),
            Column(text="Steps"),
            Column(text="Tokens"),
            Column(text="FLOPs"),
            Column(text="Steps / control's"),
            Column(text="FLOPs / control's"),
        ),
        rows=tuple(_target(target, names[target.arm], decimals) for target in shown),
        css="cards",
        note=_left_out(len(targets), len(shown), "arms"),
    )


def event_table(events: Sequence[Event]) -> Table:
    """Return what happened to runs beside being trained."""
    shown = events[:MAX_EVENTS]
    return Table(
        caption="Runs that failed, were blocked, stopped early, resumed or reused",
        columns=tuple(
            Column(text=text, is_number=False)
            for text in ("Run", "What happened", "Details", "Where")
        ),
        rows=tuple(_event(event) for event in shown),
        css="cards",
        note=_left_out(len(events), len(shown), "events"),
    )


def _left_out(total: int, shown: int, what: str) -> str:
    if shown == total:
        return ""
    return f"The first {shown} of {total} {what}; all are in summary.json."


def _by_kind(costs: Sequence[Cost]) -> list[Cost]:
    """Return the sum of each kind with several rows; none where all are stages and arms."""
    names: dict[CostKind, str] = {
        "stage": "All stages",
        "tuning": "All tuning runs",
        "arm": "All trials",
        "probe": "All probes",
    }
    of_kind = {name: [c for c in costs if c.kind == kind] for kind, name in names.items()}
    if {cost.kind for cost in costs} <= {"stage", "arm"}:
        return []
    return [together(of_it, label=name) for name, of_it in of_kind.items() if len(of_it) > 1]


def _cost(cost: Cost, *, head: str = "", css: str = "") -> Row:
    return Row(
        head=head or cost.label,
        cells=texts(
            str(cost.num_runs),
            str(cost.num_reused) if cost.num_reused else UNKNOWN,
            amount(cost.tokens),
            amount(cost.flops),
            share(cost.teacher_share),
            duration(cost.seconds),
            hours(cost.core_seconds),
            hours(cost.gpu_seconds),
            amount(cost.reused_flops) if cost.reused_flops else UNKNOWN,
        ),
        css=css,
    )


def _target(target: ToTarget, label: str, decimals: int) -> Row:
    reached = f"{target.num_reached}/{target.num_pairs}"
    own = texts(
        "not reached" if target.steps is None else f"{target.steps:,.0f}",
        amount(target.tokens),
        amount(target.flops),
    )
    ratios = texts(fixed(target.step_ratio, 2), fixed(target.flops_ratio, 2))
    return Row(head=label, cells=(*texts(fixed(target.target, decimals), reached), *own, *ratios))


def _event(event: Event) -> Row:
    is_bad = event.kind in ("failed", "blocked")
    text = event.text
    if len(text) > _MAX_ERROR:
        # An error may quote a library's message of many lines; summary.json has all of it.
        text = f"{text[:_MAX_ERROR]} …"
    return Row(
        head=event.label,
        cells=(
            Cell(text=event.kind.value, css="error" if is_bad else ""),
            Cell(text=text, css="long"),
            Cell(text=event.run_uri, css="uri"),
        ),
    )
