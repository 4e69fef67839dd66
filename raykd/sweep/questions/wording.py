"""Questions, what they measure and why they are answered as they are, in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raykd.config.schema.questions import QuestionConfig
from raykd.sweep.grid.coordinates import value_text
from raykd.sweep.questions.evidence import Evidence

if TYPE_CHECKING:
    from raykd.sweep.questions.answers import Answer


def asked_text(question: QuestionConfig) -> str:
    """Return what is asked, such as ``start=tuned minus start=random is better``."""
    if question.is_whole:
        return f"all of {', '.join(question.all)}"
    expected: str = question.expect
    if question.margin is not None:
        limit = "within" if question.expect == "alike" else "by at most"
        expected = f"{expected} {limit} {question.margin:g}"
    return f"{_sum_text(question)} is {expected}"


def measure_text(questions: Sequence[QuestionConfig], sweep: Mapping[str, Any]) -> str:
    """Return what the numbers of questions are of, each once."""
    return ", ".join(dict.fromkeys(_measure_text(question, sweep) for question in questions))


def reason_of(answer: "Answer", evidence: Evidence, *, num_asked: int) -> str:
    """Return in one sentence why a question is answered as it is.

    Args:
        answer: The answer, without a reason.
        evidence: What it rests on.
        num_asked: Questions that are adjusted together.
    """
    if evidence.wait is not None:
        return f"undecided: {evidence.wait}"
    if answer.adjusted_p is None:
        p = f"p {p_text(answer.p)}, as a part of a question"
    else:
        p = f"adjusted p {p_text(answer.adjusted_p)} of {num_asked} question{'s'[: num_asked > 1]}"
    return f"{answer.verdict}: {_found(answer)}, {p}{_open_text(answer, evidence)}"


def p_text(p: float | None) -> str:
    """Return a p value in three digits; a dash where there is none."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"  # noqa: PLR2004  three digits


def _sum_text(question: QuestionConfig) -> str:
    if question.trend is not None:
        trend = question.trend
        order = ", ".join(map(value_text, trend.order))
        return f"{_difference(trend.of, trend.with_)} from each {trend.over} to the next ({order})"
    if question.terms:
        terms = " ".join(f"{term.weight:+g} ({_side(term.arms)})" for term in question.terms)
        return terms if question.with_ is None else f"{terms} minus {_side(question.with_)}"
    difference = _difference(question.compare, question.with_)
    if (against := question.against) is None:
        return difference
    return f"({difference}) minus ({_difference(against.compare, against.with_)})"


def _difference(one: Any, other: Any) -> str:
    return _side(one) if other is None else f"{_side(one)} minus {_side(other)}"


def _side(named: Any) -> str:
    if not isinstance(named, Mapping):
        return f"{named:g}"
    coordinates = " ".join(
        f"{name}={value_text(value)}" for name, value in named.items() if name != "control"
    )
    is_control = named.get("control") is True
    return f"{'control ' if is_control else ''}{coordinates}".strip() or "every arm"


def _measure_text(question: QuestionConfig, sweep: Mapping[str, Any]) -> str:
    metrics = [term.metric for term in question.terms if term.metric is not None]
    if not question.terms or len(metrics) < len(question.terms):
        metrics.insert(0, question.metric or sweep["metric"])
    metric = ", ".join(dict.fromkeys(metrics))
    if question.steps_to is not None:
        return f"steps to {metric} {question.steps_to:g}"
    if question.area:
        return f"mean {metric} over all steps"
    return metric if question.at in (None, 1) else f"{metric} at {question.at:g} of the steps"


def _found(answer: "Answer") -> str:
    if answer.question.is_whole:
        parts = "all parts hold" if answer.verdict == "yes" else "not all parts are known to hold"
        return "the opposite of a part holds" if answer.verdict == "no" else parts
    found = f"the mean difference over {answer.num_seeds} seeds is {answer.estimate:+.3g}"
    margin = answer.question.margin
    if margin is not None:
        limits = f"±{margin:g}" if answer.question.expect == "alike" else f"a loss of {margin:g}"
        found += f", {'beyond' if answer.verdict == 'no' else 'against'} {limits}"
    elif answer.verdict == "no":
        found += ", the opposite of what is expected"
    return found


def _open_text(answer: "Answer", evidence: Evidence) -> str:
    """Return what an undecided question lacks."""
    if answer.verdict != "undecided":
        return ""
    text = ""
    if answer.smallest is not None:
        needed = {
            "alike": "a mean {0:.3g} inside of the margin",
            "no worse": "a mean {0:.3g} better than the margin",
        }.get(answer.question.expect, "{0:.3g}")
        text = f"; these seeds would have shown {needed.format(answer.smallest)}"
    return text if evidence.open_look is None else f"{text}; {evidence.open_look}"
