"""What a study can show, before it costs anything: a line for each question, and warnings."""

from collections.abc import Collection, Iterator

from rich.table import Table
from rich.text import Text

from raykd.config.load import plain
from raykd.report.units import UNKNOWN, number
from raykd.stats.power import seeds_for
from raykd.stats.rotations import MANY
from raykd.stats.spread import CONFIDENCE
from raykd.sweep.ledger import read_ledger
from raykd.sweep.plan.pilot import pilot_of, pilot_problems
from raykd.sweep.plan.plan import SweepPlan
from raykd.sweep.questions.power import PILOT, Power, StudyPower, power_of_study

_RARE = 5.0
"""Standard deviations over seeds: a study that finds only larger differences seldom finds any."""

_ORDINARY = 2.0
"""Standard deviations that many a change of a recipe makes."""

_MOST_NAMED = 3


def power_of(plan: SweepPlan) -> StudyPower:
    """Return what a planned study can show, by the results that are there."""
    # A pilot that is not there is a problem of the plan.
    has_pilot = not pilot_problems(plan.sweep, own_uri=plan.uri)
    return power_of_study(
        plain(plan.sweep),
        [run.record for run in (*plan.runs, *plan.expected)],
        before=read_ledger(plan.uri) if plan.is_known else None,
        pilot=pilot_of(plan.sweep) if has_pilot else None,
    )


def power_lines(power: StudyPower) -> Iterator[Text | Table]:
    """Yield what each question, and the comparison of the arms, can show; nothing without any."""
    if not power.tests:
        return
    yield Text(
        "\nWhat is found in 80 % of cases, in standard deviations (SD) of the differences over "
        "seeds:"
    )
    yield _table(power)
    yield Text(f"Tested at {', apart from these at '.join(_levels(power))}.")
    if spreads := [test.spread for test in power.tests if test.spread is not None]:
        known = sorted({f"{s.num_seeds} seeds of {s.origin}" for s in spreads})
        yield Text(
            f"In units of the metric roughly: by {', '.join(known)}, the upper {CONFIDENCE:.0%} "
            "confidence limit of the spread."
        )


def power_warnings(power: StudyPower) -> Iterator[str]:
    """Yield what makes it unlikely that a study finds what it is for."""
    # Where there are questions, the arms are exploration.
    tests = {q.name: q.power for q in power.questions if q.power is not None}
    if not tests and power.arms is not None:
        tests = {"the comparison of the arms": power.arms}
    if any(test.finds is None for test in tests.values()):
        yield (
            "one seed tells nothing of the spread over seeds: no question gets an answer, and no "
            "arm a verdict; give more, such as seeds=[1,2,3]"
        )
        return
    lacking = [name for name, test in tests.items() if test.spread is None]
    if lacking and power.has_pilot:
        yield f"{PILOT} has no results of the arms of {_listed(lacking)}"
    few = {name: test for name, test in tests.items() if test.is_enough is False}
    if few:
        told = [
            f"{name} finds it in {_percent(test)} of cases and needs {_needed(test)}"
            for name, test in few.items()
        ]
        yield f"too few seeds for what is wanted: {_listed(told)}"
    unsure = {n: t.finds or 0.0 for n, t in tests.items() if t.is_enough is None}
    if vague := [name for name, finds in unsure.items() if finds > _RARE]:
        name = max(vague, key=lambda name: unsure[name])
        test = tests[name]
        enough = seeds_for(_ORDINARY, expect=test.expect, alpha=test.alpha)
        yield (
            f"{_listed(vague)}: {test.num_seeds} seeds find differences of "
            f"{_in_deviations(test.finds)}, and seldom smaller ones; {enough} seeds find "
            f"{_in_deviations(_ORDINARY)}"
        )


def _levels(power: StudyPower) -> Iterator[str]:
    """Say at what levels is tested."""
    for test in {q.power.num_tests: q.power for q in power.questions if q.power}.values():
        of_looks = f" x {test.last_share:.0%} for the look at {test.num_seeds} seeds"
        yield f"5 % / {test.num_tests} question(s){of_looks if test.last_share < 1 else ''}"
    if power.arms is not None:
        num_arms = power.arms.num_tests
        yield f"5 % / {num_arms} arm(s)" if num_arms < MANY else f"5 % for {num_arms:,} alike arms"


def _listed(names: Collection[str]) -> str:
    first = [*names][:_MOST_NAMED]
    rest = len(names) - len(first)
    return ", ".join(first) + (f" and {rest} other(s)" if rest else "")


def _table(power: StudyPower) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    has_results = any(test.spread is not None for test in power.tests)
    headings = ["question", "expects", "seeds", "finds"]
    headings += ["in units", "wanted", "found", "needs"] if has_results else []
    for heading in headings:
        is_text = heading in ("question", "expects")
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for question in power.questions:
        name = f"  {question.name}" if question.part_of else question.name
        told = "all of these" if question.question.is_whole else question.question.expect
        table.add_row(*map(Text, [name, told, *_cells(question.power)][: len(headings)]))
    if power.arms is not None:
        name = f"{power.arms.num_tests:,} arm(s) against controls"
        cells = [name, power.arms.expect, *_cells(power.arms)]
        table.add_row(*map(Text, cells[: len(headings)]))
    return table


def _cells(test: Power | None) -> list[str]:
    """Return the columns after the expectation."""
    if test is None:
        return [""] * 6
    is_fixed = test.first_seeds == test.num_seeds
    return [
        str(test.num_seeds) if is_fixed else f"{test.first_seeds} to {test.num_seeds}",
        _in_deviations(test.finds),
        number(test.finds_in_units),
        number(test.wanted),
        _percent(test),
        _needed(test),
    ]


def _percent(test: Power) -> str:
    return UNKNOWN if test.share_found is None else f"{test.share_found:.0%}"


def _needed(test: Power) -> str:
    if test.wanted_in_deviations is None:
        return UNKNOWN
    return "> 1,000 seeds" if test.needed_seeds is None else f"{test.needed_seeds} seeds"


def _in_deviations(finds: float | None) -> str:
    return UNKNOWN if finds is None else f"{finds:,.2f} SD"
