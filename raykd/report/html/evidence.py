"""What an answer rests on: the difference of each seed, the arms it weighs, and their curves."""

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from raykd.report.bars import bar_of
from raykd.report.html.answers import MAX_QUESTIONS, heading, why
from raykd.report.html.dot_plot import DotPlot, draw
from raykd.report.html.learning_curves import arms_figure
from raykd.report.html.line_chart import NUM_STYLES
from raykd.report.html.panels import Panel
from raykd.report.html.scales import MINUS
from raykd.report.html.tables import (
    Column,
    Row,
    Table,
    between,
    decimals_for,
    fixed_signed,
    texts,
)
from raykd.report.html.verdicts import arm_id
from raykd.report.summary import Summary
from raykd.sweep.questions.answers import Answer
from raykd.sweep.questions.wording import p_text

MAX_CURVES = 12
MAX_ARMS = 40
MAX_SEEDS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What one answer rests on."""

    id: str
    """Where in the page it is."""

    heading: Markup
    reason: str
    facts: dict[str, str]
    """What is known of it, by name."""

    differences: Panel | None
    """None before a seed is done."""

    curves: Panel | None
    """None where its arms are too many for a figure, or have no evaluations."""

    arms: Table


def evidence_ids(answers: Sequence[Answer]) -> dict[int, str]:
    """Return where in the page the evidence is, by the index of the answer.

    A question that has parts has none of its own: its parts have it.
    """
    return {
        index: f"evidence-{index}"
        for index, answer in enumerate(answers[:MAX_QUESTIONS])
        if not answer.question.is_whole
    }


def evidence_of(summary: Summary, *, linked: Collection[str]) -> tuple[Evidence, ...]:
    """Return the evidence of the answers that have it.

    Args:
        summary: What the study found.
        linked: Arms that have a row in the page.
    """
    names = {arm.id: arm.label for arm in summary.arms}
    return tuple(
        Evidence(
            id=place,
            heading=heading(answer),
            reason=why(answer),
            facts=_facts(answer),
            differences=_differences(answer, place),
            curves=_curves(answer, place, summary) if number < MAX_CURVES else None,
            arms=_arms(answer, names, linked),
        )
        for number, (index, place) in enumerate(evidence_ids(summary.answers).items())
        for answer in [summary.answers[index]]
    )


def _facts(answer: Answer) -> dict[str, str]:
    facts = {"Asked": answer.asked}
    if answer.is_afterwards and answer.asked_at is not None:
        asked_at = datetime.datetime.fromtimestamp(answer.asked_at, tz=datetime.UTC)
        facts["First asked"] = f"{asked_at:%Y-%m-%d %H:%M} UTC"
    if answer.p is not None:
        facts["p, for this question alone"] = p_text(answer.p)
    return facts


def _differences(answer: Answer, place: str) -> Panel | None:
    mean = bar_of(answer)
    if mean is None:
        return None
    decimals = decimals_for([*answer.differences.values(), answer.estimate])
    shown = dict(sorted(answer.differences.items())[:MAX_SEEDS])
    left_out = len(answer.differences) - len(shown)
    name = f"Seeds of {answer.name}"
    by_seed = {f"seed {seed}": value for seed, value in shown.items()}
    said = f"Mean {fixed_signed(answer.estimate, decimals)}"
    if answer.low is not None:
        ends = between(answer.low, answer.high, decimals)
        said += f", {100 * answer.level:g} % interval {ends}"
    plot = DotPlot(
        id=f"{place}-seeds",
        title=name,
        description="; ".join(
            [f"{seed} {fixed_signed(value, decimals)}" for seed, value in by_seed.items()] + [said]
        ),
        x_title=f"difference in {answer.metric}, better to the right",
        dots=by_seed,
        mean=mean,
        mode=answer.mode,
        css=answer.verdict,
    )
    return Panel(
        title=name,
        drawing=draw(plot),
        legend=(),
        notes=(
            f"{said}.",
            *([f"The first {MAX_SEEDS} of {len(answer.differences)} seeds."] if left_out else []),
        ),
        table=Table(
            caption=f"Numbers of the figure: {name}",
            columns=(Column(text="Seed", is_number=False), Column(text="Difference")),
            rows=tuple(
                Row(head=seed, cells=texts(fixed_signed(value, decimals)))
                for seed, value in by_seed.items()
            ),
        ),
        by_compute=None,
    )


def _curves(answer: Answer, place: str, summary: Summary) -> Panel | None:
    """Return the curves of both sides; what one arm alone is taken off is drawn as a control."""
    arms = [arm for arm in summary.arms if arm.id in answer.weights]
    if len(arms) > NUM_STYLES:
        return None
    taken_off = [arm for arm in arms if answer.weights[arm.id] < 0]
    return arms_figure(
        [arm for arm in arms if taken_off != [arm]],
        control=taken_off[0] if len(taken_off) == 1 else None,
        title=f"Curves of {answer.name}",
        chart_id=f"{place}-curves",
        summary=summary,
    )


def _arms(answer: Answer, names: Mapping[str, str], linked: Collection[str]) -> Table:
    weights = sorted(answer.weights.items(), key=lambda item: -item[1])
    shown = weights[:MAX_ARMS]
    return Table(
        caption=f"Arms of {answer.name}: the estimate is the sum of their weighted values",
        columns=(Column(text="Arm", is_number=False), Column(text="Weight")),
        rows=tuple(
            Row(
                head=Markup('<a href="#{}">{}</a>').format(arm_id(arm), names[arm])
                if arm in linked
                else names.get(arm, arm),
                cells=texts(f"{weight:+.3g}".replace("-", MINUS)),
            )
            for arm, weight in shown
        ),
        note=f"The first {MAX_ARMS} of {len(weights)} arms; all are in summary.json."
        if len(shown) < len(weights)
        else "",
    )
