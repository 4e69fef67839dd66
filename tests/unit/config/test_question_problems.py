"""What cannot be asked is told, with its key."""

from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import as_yaml, load_sweep, plain

from tests.unit.config.conftest import MINIMAL
from tests.unit.config.test_sweep_problems import reasons_of

PAIR: dict[str, Any] = {"compare": {"teacher": "a"}, "with": {"teacher": "b"}}

TERM: dict[str, Any] = {"arms": {"teacher": "a"}, "weight": 1}


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (3, "questions.q: expected section, got 3"),
        ({}, "questions.q needs exactly one of compare, trend, terms, all"),
        (PAIR | {"all": ["x", "y"]}, None),
        ({"compare": {"teacher": "a"}}, "questions.q.with is missing: coordinates of arms, or a "),
        ({"compare": 3, "with": 1}, "questions.q.compare: expected mapping to Any | null, got 3"),
        (
            PAIR | {"with": "b"},
            "questions.q.with must be coordinates of arms or a number, got 'b'",
        ),
        (PAIR | {"with": True}, "questions.q.with must be coordinates of arms or a number, got T"),
        (
            PAIR | {"against": {"compare": {"teacher": "c"}}},
            "questions.q.against.with is missing: coordinates of arms, or a number",
        ),
        (
            {"terms": [TERM], "against": PAIR},
            "questions.q.against belongs to compare",
        ),
        (
            {"terms": [TERM], "with": {"teacher": "b"}},
            "questions.q.with must be a number beside trend and terms",
        ),
        (
            PAIR | {"marign": 1},
            "questions.q.marign: no such key; did you mean questions.<name>.marg",
        ),
        (
            PAIR | {"expect": "good"},
            "questions.q.expect: expected better | worse | different | ali",
        ),
        (PAIR | {"expect": "alike"}, "questions.q: expect: alike needs margin"),
        (PAIR | {"margin": 1}, "questions.q: expect: better has no margin"),
        (
            PAIR | {"expect": "alike", "margin": -1},
            "questions.q.margin must be > 0, got -1.0",
        ),
        (PAIR | {"detect": 0}, "questions.q.detect must be > 0, got 0.0"),
        (PAIR | {"at": 2}, "questions.q.at must be in (0, 1], got 2.0"),
        (PAIR | {"at": "early"}, "questions.q.at: expected float | null, got 'early'"),
        (PAIR | {"at": 0.1, "area": True}, "questions.q has at and area: give one of them"),
        (
            PAIR | {"at": 0.1, "metric": "test/loss"},
            "questions.q.at: test/loss is known at the end alone, take one of eval/",
        ),
        ({"terms": [3]}, "questions.q.terms: expected list of section, got [3]"),
        ({"terms": [{"arms": {}}]}, "questions.q.terms[0].weight is required"),
        (
            {"terms": [TERM, TERM | {"weigth": 1}]},
            "questions.q.terms[1].weigth: no such key; did you mean weight?",
        ),
        (
            {"terms": [{"arms": 3, "weight": 1}]},
            "questions.q.terms[0].arms: expected mapping to Any, got 3",
        ),
        (
            {"terms": [TERM | {"weight": 0}]},
            "questions.q.terms[0].weight must be a number other than 0, got 0.0",
        ),
        (
            {"trend": {"over": "teacher"}},
            "questions.q.trend.order is required",
        ),
        (
            {"trend": {"over": "teacher", "order": ["a", "b"]}},
            "questions.q.trend.order must be three different values or more: ['a', 'b']",
        ),
        (
            {"trend": {"over": "teacher", "order": ["a", "b", "c"], "of": {"teacher": "a"}}},
            "questions.q.trend.of names teacher, which the trend is over",
        ),
        ({"all": ["x"]}, "questions.q.all must name two questions or more, got ['x']"),
        (
            {"all": ["x", "y"], "metric": "eval/loss"},
            "questions.q: beside all, only claim, source and given have a meaning",
        ),
        ({"all": ["x", "z"]}, "questions.q.all names z: the others are x, y"),
        (PAIR | {"given": ["q"]}, "questions.q.given names q: the others are x, y"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told(
    path: Path, question: Any, reason: str | None
) -> None:
    (found,) = reasons_of(path, {"questions": {"q": question, "x": PAIR, "y": PAIR}})
    if reason is not None:
        assert found.startswith(reason)


@pytest.mark.parametrize(
    ("questions", "reason"),
    [
        ([1], "questions: expected mapping to section, got [1]"),
        ({"a b": PAIR}, "questions.a b: the name must consist of letters"),
        (
            {"a": PAIR | {"given": ["b"]}, "b": PAIR | {"given": ["a"]}},
            "questions.a.given leads back to itself",
        ),
        (
            {"p": {"all": ["a", "b"]}, "q": {"all": ["b", "c"]}} | dict.fromkeys("abc", PAIR),
            "questions.b is a part of two questions: name it in one",
        ),
        (
            {"p": {"all": ["q", "a"]}, "q": {"all": ["b", "c"]}} | dict.fromkeys("abc", PAIR),
            "questions.p.all names q, which has parts: name these",
        ),
    ],
)
def test_questions_that_do_not_fit_together_are_told(
    path: Path, questions: Any, reason: str
) -> None:
    (found,) = reasons_of(path, {"questions": questions})
    assert found.startswith(reason)


def test_questions_are_about_arms_that_are_known_beforehand(path: Path) -> None:
    search = {"losses.forward_kl.weight": {"uniform": [0, 1]}}
    (found,) = reasons_of(path, {"questions": {"q": PAIR}, "search": search, "searcher": "optuna"})
    assert "searcher=optuna chooses arms by results" in found


def test_a_sweep_with_questions_is_written_as_it_is_read(path: Path, tmp_path: Path) -> None:
    text = f"{MINIMAL}questions: {{q: {{compare: {{teacher: a}}, with: {{control: true}}}}}}\n"
    path.write_text(text)
    sweep = load_sweep(path)
    again = tmp_path / "again.yaml"
    again.write_text(as_yaml(sweep))
    assert load_sweep(again).questions == sweep.questions
    assert plain(sweep)["questions"]["q"]["with"] == {"control": True}
