"""The ledger knows what a study was asked, and what of it after results were there."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.sweep.ledger import Asked, Ledger, SweepPaths, read_ledger, write_index, write_records
from raykd.sweep.plan.plan import known_ledger, plan_sweep
from raykd.sweep.questions.asked import asked_now
from raykd.sweep.record import Record
from raykd.tune.run import SweepOptions, run_sweep

from tests.sweep_files import WEIGHT, sweep_in
from tests.sweeps import evaluations_of
from tests.unit.sweep.questions.studies import grid, study_of, sweep_of

ARMS = study_of(grid(teacher=["a", "b"], weight=[1]), lambda _point, _seed: None)


def ask(teacher: str, **given: Any) -> dict[str, Any]:
    return {"compare": {"teacher": teacher, "weight": 1}, "with": {"control": True}, **given}


def with_results(teacher: str) -> dict[str, Record]:
    """Return the records where the arm of a teacher was evaluated once, on its way."""
    return {
        key: replace(r, evaluations=evaluations_of([0.5]))
        if r.coordinates.get("teacher") == teacher and r.seed == 2
        else r
        for key, r in ARMS.items()
    }


class Study:
    """Starts one study again and again, each with a ledger that was written and read."""

    def __init__(self, directory: Path) -> None:
        self._paths = SweepPaths(sweep=str(directory))
        self._ledger: Ledger | None = None
        self._now = 0.0

    def start(
        self, questions: Mapping[str, Any], records: Mapping[str, Record] = ARMS, **given: Any
    ) -> dict[str, tuple[float, bool, float | None]]:
        """Return name to when it was asked, whether afterwards, and when it was withdrawn."""
        self._now += 1
        sweep = sweep_of(questions, **given)
        asked = asked_now(sweep, records, before=self._ledger, now=self._now)
        write_index(self._paths, sweep=sweep, run_ids=records, asked=asked)
        write_records(self._paths, records.values())
        self._ledger = read_ledger(self._paths.sweep)
        assert self._ledger.asked == asked
        return {
            f"{e.name} withdrawn" if e.withdrawn_at else e.name: (
                e.asked_at, e.is_afterwards, e.withdrawn_at,
            )
            for e in asked
        }  # fmt: skip


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path)


def test_questions_of_the_first_start_are_planned_and_stay_so(study: Study) -> None:
    first = {"q": (1.0, False, None)}
    assert study.start({"q": ask("a")}) == first
    assert study.start({"q": ask("a")}, with_results("a")) == first
    # What is said about it is not what is asked.
    told = ask("a", claim="it helps", source="someone", detect=0.1)
    assert study.start({"q": told}, with_results("a")) == first


def test_a_question_that_is_added_is_afterwards_where_its_own_arms_have_results(
    study: Study,
) -> None:
    study.start({"q": ask("a")})
    found = study.start({"q": ask("a"), "a": ask("a", at=0.5), "b": ask("b")}, with_results("a"))
    assert found == {"q": (1.0, False, None), "a": (2.0, True, None), "b": (2.0, False, None)}


def test_results_count_while_the_arms_are_planned_anew(study: Study) -> None:
    study.start({"q": ask("a")}, with_results("a"))
    # As where more values are tuned: the trials follow when one is chosen.
    found = study.start({"q": ask("a"), "a": ask("a", at=0.5), "b": ask("b")}, {})
    assert found == {"q": (1.0, True, None), "a": (2.0, True, None), "b": (2.0, False, None)}


def test_runs_that_another_study_has_done_are_results_at_the_first_start(study: Study) -> None:
    assert study.start({"q": ask("a")}, with_results("a")) == {"q": (1.0, True, None)}


def test_a_change_withdraws_what_was_asked_and_asks_anew(study: Study) -> None:
    study.start({"q": ask("a")})
    study.start({"q": ask("a")}, with_results("a"))
    changed = study.start({"q": ask("a", expect="different")}, with_results("a"))
    assert changed == {"q": (3.0, True, None), "q withdrawn": (1.0, False, 3.0)}
    # Changed back, it is what it was; the other stays, too.
    assert study.start({"q": ask("a")}, with_results("a")) == {
        "q": (1.0, False, None), "q withdrawn": (3.0, True, 4.0),
    }  # fmt: skip


def test_without_results_a_question_may_change_and_go(study: Study) -> None:
    study.start({"q": ask("a"), "r": ask("b")})
    # The other arm's results do not matter.
    records = with_results("b")
    assert study.start({"q": ask("a", expect="worse"), "r": ask("b")}, records) == {
        "q": (2.0, False, None), "r": (1.0, False, None),
    }  # fmt: skip
    assert study.start({"r": ask("b")}, records) == {"r": (1.0, False, None)}


def test_a_question_that_is_removed_and_put_back_was_asked_all_the_while(study: Study) -> None:
    study.start({"q": ask("a"), "r": ask("b")})
    records = with_results("a")
    study.start({"q": ask("a"), "r": ask("b")}, records)
    gone = study.start({"r": ask("b")}, records)
    assert gone == {"r": (1.0, False, None), "q withdrawn": (1.0, False, 3.0)}
    assert study.start({"r": ask("b")}, records) == gone
    back = study.start({"q": ask("a"), "r": ask("b")}, records)
    assert back == {"q": (1.0, False, None), "r": (1.0, False, None)}


def test_a_question_whose_arms_go_with_it_is_withdrawn(study: Study) -> None:
    study.start({"q": ask("a"), "r": ask("b")})
    study.start({"q": ask("a"), "r": ask("b")}, with_results("a"))
    left = {k: r for k, r in ARMS.items() if r.coordinates.get("teacher") != "a"}
    assert study.start({"r": ask("b")}, left) == {
        "r": (1.0, False, None), "q withdrawn": (1.0, False, 3.0),
    }  # fmt: skip


def test_results_that_have_left_the_study_are_not_forgotten(study: Study) -> None:
    study.start({"q": ask("a"), "r": ask("b")})
    study.start({"q": ask("a"), "r": ask("b")}, with_results("a"))
    # Another base: the arms are others, without results.
    other = {f"other {k}": replace(r, arm=f"other {r.arm}") for k, r in ARMS.items()}
    study.start({"q": ask("a"), "r": ask("b")}, other)
    study.start({"q": ask("a"), "r": ask("b")}, other)
    assert study.start({}, other) == {"q withdrawn": (1.0, False, 5.0)}


def test_other_seeds_after_results_make_a_question_afterwards(study: Study) -> None:
    asked = {"q": ask("a"), "other": ask("b")}
    study.start(asked)
    # Before there are results, a study may be planned larger.
    more: dict[str, Any] = {"seeds": [1, 2, 3], "more_seeds": [4, 5]}
    planned = {"q": (1.0, False, None), "other": (1.0, False, None)}
    assert study.start(asked, **more) == planned
    assert study.start(asked, with_results("a"), **more) == planned
    widened: dict[str, Any] = {"seeds": [1, 2, 3], "more_seeds": [4, 5, 6, 7]}
    late = planned | {"q": (1.0, True, None)}
    assert study.start(asked, with_results("a"), **widened) == late
    assert study.start(asked, with_results("a"), **widened) == late
    assert study.start(asked, with_results("a"), **more) == late


def test_other_arms_after_results_make_a_question_afterwards(study: Study) -> None:
    mean = {"compare": {"weight": 1}, "with": {"control": True}}
    only = {k: r for k, r in ARMS.items() if r.coordinates.get("teacher") != "b"}
    planned = {"q": (1.0, False, None), "a": (1.0, False, None)}
    assert study.start({"q": mean, "a": ask("a")}, only) == planned
    assert study.start({"q": mean, "a": ask("a")}, ARMS) == planned
    # What it is the mean of changes when an arm of it has a result; that of one teacher does not.
    left = {k: r for k, r in with_results("a").items() if k in only}
    found = study.start({"q": mean, "a": ask("a")}, left)
    assert found == {"q": (1.0, True, None), "a": (1.0, False, None)}


def test_a_part_is_not_asked_by_itself(study: Study) -> None:
    parts = {"x": ask("a"), "y": ask("b")}
    assert study.start({"w": {"all": ["x", "y"]}, **parts}) == {"w": (1.0, False, None)}
    # By itself it is another question.
    records = with_results("b")
    study.start({"w": {"all": ["x", "y"]}, **parts}, records)
    assert study.start(parts, records) == {
        "x": (3.0, False, None), "y": (3.0, True, None), "w withdrawn": (1.0, False, 3.0),
    }  # fmt: skip
    # And so is the whole with another part.
    parts["x"] = ask("a", expect="worse")
    found = study.start({"w": {"all": ["x", "y"]}, **parts}, records)
    assert found["w"] == (4.0, True, None)


def test_another_metric_of_the_study_is_another_question(study: Study) -> None:
    study.start({"q": ask("a")})
    study.start({"q": ask("a")}, with_results("a"))
    found = study.start({"q": ask("a")}, with_results("a"), metric="eval/macro_f1")
    assert found == {"q": (3.0, True, None), "q withdrawn": (1.0, False, 3.0)}


def test_what_is_better_turned_round_is_another_question(study: Study) -> None:
    asks = {"q": ask("a"), "r": ask("a", metric="eval/loss"), "s": ask("a", steps_to=0.5)}
    study.start(asks)
    assert study.start(asks, with_results("a"), mode="min") == {
        "q": (2.0, True, None), "r": (1.0, False, None), "s": (2.0, True, None),
        "q withdrawn": (1.0, False, 2.0), "s withdrawn": (1.0, False, 2.0),
    }  # fmt: skip


def test_a_driver_writes_what_is_asked_at_each_start(tmp_path: Path, directory: Path) -> None:
    def start(**questions: Any) -> tuple[Asked, ...]:
        plan = plan_sweep(
            sweep_in(
                directory,
                output_uri=str(tmp_path / "sweeps"),
                runs_uri=str(tmp_path / "runs"),
                search={WEIGHT: {"grid": [1]}},
                seeds=[1, 2],
                questions=questions,
            )
        )
        # It is stopped before it starts a run.
        ledger = run_sweep(
            plan, SweepOptions(address="local"), on_step=lambda *_: None, should_stop=lambda: True
        )
        return ledger.asked

    question = {"compare": {"weight": 1}, "with": {"control": True}}
    (first,) = start(q=question)
    assert not first.is_afterwards
    ledger = known_ledger(sweep_in(directory, output_uri=str(tmp_path / "sweeps")))
    assert ledger is not None
    results = [replace(trial, evaluations=evaluations_of([1.0])) for trial in ledger.trials]
    write_records(SweepPaths(sweep=ledger.uri), results)
    (again, late) = start(q=question, late={**question, "expect": "worse"})
    assert again == replace(first, has_results=True)
    assert late.is_afterwards
    assert late.asked_at > first.asked_at
