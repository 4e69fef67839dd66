"""Two studies side by side in a terminal, readable in 100 columns."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from raykd import strict_json
from raykd.report.terminal.answers import STYLES
from raykd.report.terminal.layout import table
from raykd.report.two_studies.comparison import Finding, TwoStudies
from raykd.report.units import UNKNOWN, number

_MAX_ARMS = 40


def comparison_screen(studies: TwoStudies) -> Group:
    """Return what differs in the files, the answers, changed ones first, and the arms."""
    parts: list[RenderableType] = [
        Text(
            f"{letter}  {study.name}  {study.sweep_uri}{'' if study.is_over else '  not over'}",
            style="bold",
            overflow="fold",
        )
        for letter, study in (("A", studies.a), ("B", studies.b))
    ]
    return Group(*parts, Text(), *_files(studies), *_answers(studies), Text(), *_arms(studies))


def _files(studies: TwoStudies) -> Iterator[RenderableType]:
    if not studies.files:
        yield Text("the files are the same, questions apart")
        return
    yield from table(
        "what differs in the files",
        ["key", "A", "B"],
        [[key, *map(_value, values)] for key, values in studies.files.items()],
        words=["A", "B"],
    )


def _value(value: object) -> str:
    return UNKNOWN if value is None else strict_json.text(value)


def _answers(studies: TwoStudies) -> Iterator[RenderableType]:
    if not studies.answers:
        return
    both = sum(pair.a is not None and pair.b is not None for pair in studies.answers)
    otherwise = studies.num_answers("asked otherwise")
    title = f"answers: {studies.num_answers('changed')} of {both} in both changed"
    yield Text()
    yield from table(
        f"{title}, {otherwise} asked otherwise" if otherwise else title,
        ["question", "A", "difference", "B", "difference", ""],
        [
            [
                pair.name,
                *_told(pair.a),
                *_told(pair.b),
                Text(
                    "" if pair.change == "same" else pair.change,
                    style="bold" if pair.change == "changed" else "",
                ),
            ]
            for pair in studies.answers
        ],
        words=["A", "B", ""],
    )


def _told(finding: Finding | None) -> list[str | Text]:
    if finding is None:
        return [UNKNOWN, UNKNOWN]
    marks = {"afterwards": finding.is_afterwards, "withdrawn": finding.is_withdrawn}
    words = ", ".join([finding.verdict, *(mark for mark, is_set in marks.items() if is_set)])
    return [Text(words, style=STYLES[finding.verdict]), number(finding.estimate, sign="+")]


def _arms(studies: TwoStudies) -> Iterator[RenderableType]:
    title = f"arms in common: {studies.num_arms}, {len(studies.arms)} with another verdict"
    if not studies.arms:
        yield Text(title, style="bold")
    else:
        yield from table(
            title,
            ["arm", "A", "difference", "B", "difference"],
            [
                [
                    arm.label,
                    arm.a,
                    number(arm.a_difference, sign="+"),
                    arm.b,
                    number(arm.b_difference, sign="+"),
                ]
                for arm in studies.arms[:_MAX_ARMS]
            ],
            words=["A", "B"],
        )
    if (left_out := len(studies.arms) - _MAX_ARMS) > 0:
        yield Text(f"and {left_out} more: --output writes all of them")
    if others := studies.num_arms - studies.num_same_runs:
        yield Text(
            f"{others} of the arms in common are other runs in B: what they compute differs, by "
            "the base, the data or the models"
        )
