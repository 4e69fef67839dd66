"""Which questions get more seeds: those that are undecided, and that seeds can decide."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from raykd.config.load import checked_sweep
from raykd.config.schema.questions import QuestionConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.questions.answers import Answer, Verdict
from raykd.sweep.questions.seeds import going_on, is_over, looks_of
from raykd.sweep.record import Record, State

from tests.sweeps import trial_of

SEEDS = (1, 2, 3)


def sweep_of(**given: Any) -> SweepConfig:
    questions = {"q": {"compare": {"start": "a"}, "with": {"start": "b"}}}
    whole = {"name": "study", "base": "base.yaml", "questions": questions, **given}
    return checked_sweep(whole, origin="sweep")


def answer_of(
    name: str, verdict: Verdict = "undecided", seeds: Iterable[int] = SEEDS, **changes: Any
) -> Answer:
    """Return an answer of all seeds so far."""
    return replace(
        Answer(
            name=name,
            question=QuestionConfig(compare={"start": "a"}, with_={"start": "b"}),
            asked=name,
            metric="eval/loss",
            mode="min",
            verdict=verdict,
            reason="",
            differences=dict.fromkeys(seeds, 0.5),
            num_planned=3,
            estimate=0.5,
            low=None,
            high=None,
            level=0.95,
            p=None,
            adjusted_p=None,
            smallest=None,
            weights={f"{name} a": 1.0, f"{name} b": -1.0},
        ),
        **changes,
    )


def whole_of(name: str, parts: Iterable[Answer], **changes: Any) -> list[Answer]:
    """Return an answer with its parts, which follow it."""
    of_it = [replace(part, part_of=name) for part in parts]
    question = QuestionConfig(all=tuple(part.name for part in of_it))
    given: dict[str, Any] = {"seeds": (), "question": question, "weights": {}} | changes
    return [answer_of(name, **given), *of_it]


def going(*answers: Answer) -> list[str]:
    return list(going_on(answers, SEEDS))


# Looks


@pytest.mark.parametrize(
    ("seeds", "more", "added"),
    [
        ((1, 2, 3), (4, 5, 6, 7, 8, 9, 10, 11, 12), [(1, 2, 3), (4, 5, 6), tuple(range(7, 13))]),
        ((7, 5), (1, 2, 3), [(7, 5), (1, 2), (3,)]),
        ((1, 2), (3,), [(1, 2), (3,)]),
    ],
)
def test_each_look_has_twice_the_seeds_until_all_are_spent(
    seeds: tuple[int, ...], more: tuple[int, ...], added: list[tuple[int, ...]]
) -> None:
    looks = looks_of(sweep_of(seeds=list(seeds), more_seeds=list(more)))
    assert [look.number for look in looks] == list(range(1, len(added) + 1))
    assert [look.added for look in looks] == added
    assert [look.following for look in looks] == [*added[1:], ()]
    assert [look.seeds for look in looks] == [
        sum(added[:number], ()) for number in range(1, len(added) + 1)
    ]


def test_a_look_is_over_with_the_last_of_its_trials_and_their_probes() -> None:
    def states(seed: int, state: State, probe: State = State.DONE) -> dict[str, Record]:
        trial = trial_of({}, seed=seed, state=state)
        scored = replace(trial, id=f"probe {seed}", kind="probe", probed=trial.id, state=probe)
        # The seed of a probe is its own.
        return {r.id: replace(r, seed=r.seed if r is trial else 9) for r in (trial, scored)}

    ended = states(1, State.DONE) | states(2, State.FAILED, State.BLOCKED)
    assert is_over(ended | states(3, State.STOPPED, State.STOPPED), SEEDS)
    assert not is_over(ended | states(3, State.RUNNING), SEEDS)
    assert not is_over(ended | states(3, State.DONE, State.WAITING), SEEDS)
    # What later looks do changes nothing.
    assert is_over(ended | states(4, State.RUNNING), SEEDS)


# Questions that go on


@pytest.mark.parametrize(
    ("changes", "goes_on"),
    [
        ({}, True),
        ({"verdict": "yes"}, False),
        ({"verdict": "no"}, False),
        # Without a seed's difference there is never a verdict: a run failed, or was stopped.
        ({"seeds": (1, 3)}, False),
        ({"is_withdrawn": True}, False),
        ({"is_afterwards": True}, True),
    ],
)
def test_a_question_goes_on_where_it_is_undecided_and_seeds_may_decide_it(
    changes: dict[str, Any], goes_on: bool
) -> None:
    assert going(answer_of("q", **changes)) == (["q"] if goes_on else [])


def test_a_question_goes_on_beside_a_withdrawn_one_of_its_name() -> None:
    withdrawn = answer_of("q", seeds=(1,), is_withdrawn=True)
    assert going(answer_of("q"), withdrawn) == ["q"]
    assert going(answer_of("q", "yes"), replace(withdrawn, differences={})) == []


def test_differences_of_seeds_that_are_beside_those_asked_do_not_stand_for_them() -> None:
    assert going(answer_of("q", seeds=(1, 2, 4))) == []


@pytest.mark.parametrize(
    ("given", "goes_on"),
    [
        (answer_of("g", "yes"), ["q"]),
        (answer_of("g", "no"), []),
        (answer_of("g"), ["q", "g"]),
        # It stays undecided, and so does what depends on it.
        (answer_of("g", seeds=(1,)), []),
    ],
)
def test_a_question_that_depends_on_another_goes_on_as_long_as_that_may_be_yes(
    given: Answer, goes_on: list[str]
) -> None:
    question = replace(answer_of("q").question, given=("g",))
    assert going(answer_of("q", question=question), given) == goes_on


@pytest.mark.parametrize(
    ("early", "late", "goes_on"),
    [
        ("yes", "undecided", ["late"]),
        # A no of a part has to be a stronger one to be that of the whole.
        ("no", "undecided", ["early", "late"]),
        ("yes", "yes", ["early", "late"]),
    ],
)
def test_with_a_question_go_its_parts_that_hold_it_back(
    early: Verdict, late: Verdict, goes_on: list[str]
) -> None:
    parts = [answer_of("early", early), answer_of("late", late)]
    assert going(*whole_of("crossover", parts)) == ["crossover", *goes_on]


@pytest.mark.parametrize("verdict", ["yes", "no"])
def test_with_a_question_its_parts_are_decided(verdict: Verdict) -> None:
    parts = [answer_of("early"), answer_of("late")]
    assert going(*whole_of("crossover", parts, verdict=verdict)) == []


def test_no_part_goes_on_where_one_can_never_be_answered() -> None:
    parts = [answer_of("early", seeds=(1, 2)), answer_of("late")]
    assert going(*whole_of("crossover", parts)) == []
    given = whole_of("crossover", [answer_of("early"), answer_of("late")])
    question = replace(given[0].question, given=("g",))
    blocked = [replace(given[0], question=question), *given[1:], answer_of("g", "no")]
    assert going(*blocked) == []
