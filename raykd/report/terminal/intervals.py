"""Intervals drawn in one line of text, better to the right, 0 in the middle."""

from raykd.report.bars import bar_of
from raykd.sweep.questions.answers import Answer

_MEAN, _INTERVAL, _ZERO, _MARGIN, _CROSSED = "●", "─", "│", "┊", "┼"
_BEYOND = ("◂", "▸")


def axis(width: int) -> str:
    """Return what stands above drawn intervals of a width."""
    half = width // 2
    return f"{'worse':<{half}}{_ZERO}{'better':>{half}}" if half >= len("better") else ""


def drawn(answer: Answer, *, reach: float, width: int) -> str:
    """Return an answer's estimate and interval, with 0 and its margin; empty without an estimate.

    Args:
        answer: What to draw.
        reach: How far from 0 the outermost columns are; an end beyond them is an arrow.
        width: Columns, an odd number; 0 draws nothing.
    """
    bar = bar_of(answer)
    if bar is None or not width:
        return ""
    direction = 1 if answer.mode == "max" else -1
    half = width // 2

    def column(value: float) -> int:
        return half + round(half * max(-1.0, min(1.0, direction * value / reach)))

    columns = [" "] * width
    marks = {0.0: _ZERO} | dict.fromkeys(bar.margins, _MARGIN)
    for value, mark in marks.items():
        columns[column(value)] = mark
    if bar.low is not None and bar.high is not None:
        first, last = sorted((column(bar.low), column(bar.high)))
        for index in range(first, last + 1):
            columns[index] = _INTERVAL if columns[index] == " " else _CROSSED
        for end in (bar.low, bar.high):
            if abs(end) > reach:
                columns[column(end)] = _BEYOND[direction * end > 0]
    columns[column(bar.mean)] = _MEAN
    return "".join(columns)
