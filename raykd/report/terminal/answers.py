"""The questions of a study in a terminal: each with its answer, and where its interval lies."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from raykd.report.bars import reaches
from raykd.report.summary import ANSWERS_RULE, Summary
from raykd.report.terminal.intervals import axis, drawn
from raykd.report.terminal.layout import WIDTH, metric_text
from raykd.report.units import UNKNOWN, number
from raykd.sweep.questions.answers import Answer, Verdict
from raykd.sweep.questions.wording import p_text

_HEADER = ("question", "answer", "difference", "interval", "adj. p", "seeds")
_GAP = "  "
_NAME_WIDTH = 24
"""A longer name has a line of its own."""

_INTERVAL_WIDTHS = range(9, 23, 2)
"""Of a drawn interval: odd, so that 0 has a column."""

STYLES: dict[Verdict, str] = {"yes": "green", "no": "red", "undecided": "dim"}


def answers_line(answers: Iterable[Answer]) -> str:
    """Return how many questions have which answer, parts and withdrawn ones apart."""
    counted = [a for a in answers if a.part_of is None and not a.is_withdrawn]
    planned = Counter(a.verdict for a in counted if not a.is_afterwards)
    afterwards = Counter(a.verdict for a in counted if a.is_afterwards)
    told = {"answers": planned, "asked afterwards": afterwards}
    return "; ".join(
        f"{what}: {', '.join(f'{counts[v]} {v}' for v in STYLES if counts[v])}"
        for what, counts in told.items()
        if counts
    )


def questions(summary: Summary) -> Iterator[RenderableType]:
    """Yield the questions with their answers, and the rule."""
    rows = [_cells(answer) for answer in summary.answers]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    widths[0] = min(widths[0], _NAME_WIDTH)
    room = WIDTH - sum(widths) - len(_GAP) * len(widths)
    width = max((w for w in _INTERVAL_WIDTHS if w <= room), default=0)
    yield Text(f"questions: {metric_text(summary.metric, summary.mode)}", style="bold")
    header = _line(_HEADER, widths, axis(width), style="")
    header.stylize("bold")
    yield header
    reach = reaches(summary.answers)
    for answer, cells, scale in zip(summary.answers, rows, reach, strict=True):
        if len(cells[0]) > widths[0]:
            yield Text(cells[0])
            cells[0] = ""
        picture = drawn(answer, reach=scale, width=width)
        yield _line(cells, widths, picture, style=STYLES[answer.verdict])
        indent = 4 if answer.part_of else 2
        for line in _told(answer, summary):
            yield Padding(line, (0, 0, 0, indent), expand=False)
    yield Text()
    yield Text(ANSWERS_RULE, style="dim")


def _cells(answer: Answer) -> list[str]:
    """Return an answer as the texts of a line; what a whole has in its parts alone is empty."""
    name = f"  {answer.name}" if answer.part_of else answer.name
    if answer.question.is_whole:
        return [name, answer.verdict, "", "", p_text(answer.adjusted_p), ""]
    interval = UNKNOWN
    if answer.low is not None:
        interval = f"{number(answer.low, sign='+')} to {number(answer.high, sign='+')}"
    return [
        name,
        answer.verdict,
        number(answer.estimate, sign="+"),
        interval,
        p_text(answer.adjusted_p),
        f"{answer.num_seeds}/{answer.num_planned}",
    ]


def _line(cells: Sequence[str], widths: Sequence[int], picture: str, *, style: str) -> Text:
    """Return a line of a table; a style is that of the answer, and of the picture."""
    aligned = [
        cell.ljust(width) if index <= 1 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    line = Text(_GAP.join([*aligned, picture]).rstrip(), overflow="fold")
    after_name = len(aligned[0]) + len(_GAP)
    line.stylize(style, after_name, after_name + len(aligned[1]))
    line.stylize(style, len(line) - len(picture.rstrip()))
    return line


def _told(answer: Answer, summary: Summary) -> Iterator[Text]:
    """Yield what stands below an answer: what is claimed, and why it is undecided."""
    question = answer.question
    marks = {"asked afterwards": answer.is_afterwards, "withdrawn": answer.is_withdrawn}
    marked = ", ".join(mark for mark, is_set in marks.items() if is_set)
    source = f" ({question.source})" if question.source else ""
    # What is asked is no news beside a claim, and all there is to read without one.
    told = f"{question.claim}{source}" if question.claim else answer.asked
    is_of_study = (answer.metric, answer.mode) == (summary.metric, summary.mode)
    has_own = not (question.is_whole or is_of_study)
    metric = f"; {metric_text(answer.metric, answer.mode)}" if has_own else ""
    yield Text(f"{marked}: {told}{metric}" if marked else f"{told}{metric}", overflow="fold")
    if answer.verdict == "undecided":
        reason = answer.reason.removeprefix("undecided: ")
        yield Text(reason, overflow="fold", style="dim")
