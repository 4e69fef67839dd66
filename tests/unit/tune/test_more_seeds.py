"""Seeds are added to undecided questions alone, the same whenever the driver dies."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import checked_sweep, plain
from raykd.ray_cluster.connect import LOCAL
from raykd.runs.retry import FailureKind
from raykd.sweep.ledger import Ledger, read_ledger
from raykd.sweep.plan.plan import SweepPlan, plan_sweep
from raykd.sweep.record import Record, State
from raykd.tune.run import SweepOptions, study_of

from tests.sweep_files import sweep_in, write_runs
from tests.unit.sweep.study.simulator import Cluster, DriverDiedError, Script

RATE = "optimizer.learning_rate"

GIVEN: dict[str, Any] = {
    "teachers": {},
    "controls": False,
    "overrides": {"losses": {"cross_entropy": {}}, "teachers": {}},
    "search": {RATE: {"grid": [0.1, 0.2, 0.4]}},
    "questions": {
        "clear": {"compare": {"learning_rate": 0.2}, "with": {"learning_rate": 0.1}},
        "faint": {"compare": {"learning_rate": 0.4}, "with": {"learning_rate": 0.1}},
    },
    "nodes": {"one": {"cpus": 2}},
}
RANGE = {"at_least": 2, "at_most": 4}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_runs(tmp_path_factory.mktemp("runs"))


def trained(records: Mapping[str, Record]) -> list[tuple[float, int]]:
    return [(record.coordinates[RATE], record.seed) for record in records.values()]


class Driven:
    """A sweep in a place of its own, whose runs are simulated."""

    def __init__(
        self,
        directory: Path,
        place: Path,
        *,
        seed: int = 0,
        fails: tuple[float, int] | None = None,
        **given: Any,
    ) -> None:
        """Write the sweep.

        Args:
            directory: Of the run files.
            place: Where all else belongs.
            seed: Of the order in which runs advance.
            fails: Rate and seed of a run that fails once.
            given: Keys of the sweep.
        """
        where = {"output_uri": str(place / "sweeps"), "runs_uri": str(place / "runs")}
        self._sweep = sweep_in(directory, **{**GIVEN, **where, "seeds": RANGE, **given})
        every = plan_sweep(replace(self._sweep, seeds=(1, 2, 3, 4), more_seeds=()))
        scripts = {
            r.id: Script(
                values=(_loss(r),),
                failures=int((r.coordinates[RATE], r.seed) == fails),
                kind=FailureKind.DIVERGED,
            )
            for r in every.records
        }
        self.cluster = Cluster(scripts, seed=seed)
        self.find: Any = None
        self.told: list[SweepPlan] = []

    def ask(self, questions: dict[str, Any]) -> None:
        """Have the file of the sweep ask other questions."""
        asked = checked_sweep({**plain(self._sweep), "questions": questions}, origin="sweep")
        self._sweep = asked

    def run(self, *, events: int | None = None, **options: Any) -> None:
        """Start a driver, which may die after so many events."""
        retries = options.get("retries_failed", False)
        plan = plan_sweep(self._sweep, find=self.find, retries_failed=retries)
        assert not plan.problems
        self.find = plan.find
        study = study_of(plan, SweepOptions(address=LOCAL, **options), self.told.append)
        self.cluster.run(study, events=events)

    @property
    def ledger(self) -> Ledger:
        return read_ledger(f"{self._sweep.output_uri}/study")

    @property
    def records(self) -> dict[str, Record]:
        return self.ledger.records

    @property
    def states(self) -> Counter[State]:
        return Counter(record.state for record in self.records.values())


def _loss(record: Record) -> float:
    """Return a loss that is 1 lower with a rate of 0.2, and differs by chance with 0.4."""
    rate: float = record.coordinates[RATE]
    return (3.0 if rate == 0.2 else 4.0) + (record.seed * 7 + rate * 30 * record.seed) % 11 / 1e3


@pytest.fixture(scope="module")
def smooth(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Driven:
    """Return a sweep that nobody interrupts."""
    driven = Driven(directory, tmp_path_factory.mktemp("smooth"))
    driven.run()
    return driven


def test_only_the_arms_of_the_undecided_question_are_trained_on(smooth: Driven) -> None:
    first = [(rate, seed) for seed in (1, 2) for rate in (0.1, 0.2, 0.4)]
    more = [(0.1, 3), (0.4, 3), (0.1, 4), (0.4, 4)]
    assert trained(smooth.records) == [*first, *more]
    assert smooth.states == {State.DONE: 10}
    (plan,) = smooth.told
    assert plan.more_seeds is not None
    assert (plan.more_seeds.look.number, plan.more_seeds.undecided) == (2, ("faint",))


def test_a_driver_that_dies_trains_the_same_runs(
    directory: Path, tmp_path: Path, smooth: Driven
) -> None:
    # Each of the six runs of the first look has three events: every one around its end, and some
    # before and after.
    for events in (1, 9, *range(16, 21), 25, smooth.cluster.num_events - 1):
        driven = Driven(directory, tmp_path / str(events), seed=events)
        driven.find = smooth.find
        with pytest.raises(DriverDiedError):
            driven.run(events=events)
        dead = driven.ledger
        driven.run()
        assert (dead.is_over, driven.ledger.is_over) == (False, True)
        assert trained(driven.records) == trained(smooth.records)
        assert driven.states == {State.DONE: 10}


def test_a_look_opens_again_where_a_failed_run_is_tried_again(
    directory: Path, tmp_path: Path, smooth: Driven
) -> None:
    driven = Driven(directory, tmp_path, fails=(0.4, 2))
    driven.find = smooth.find
    driven.run()
    assert driven.states == {State.DONE: 5, State.FAILED: 1}
    driven.run()
    assert driven.states == {State.DONE: 5, State.FAILED: 1}
    driven.run(retries_failed=True)
    assert trained(driven.records) == trained(smooth.records)
    assert driven.states == {State.DONE: 10}


def test_a_part_of_a_study_gets_no_further_seeds(
    directory: Path, tmp_path: Path, smooth: Driven
) -> None:
    driven = Driven(directory, tmp_path)
    driven.find = smooth.find
    driven.run(only=["learning_rate=0.4"])
    assert driven.states == {State.DONE: 2, State.WAITING: 4}
    driven.run()
    assert trained(driven.records) == trained(smooth.records)


def test_a_question_that_is_asked_later_gets_seeds_that_others_have(
    directory: Path, tmp_path: Path, smooth: Driven
) -> None:
    questions = GIVEN["questions"]
    driven = Driven(directory, tmp_path, questions={"clear": questions["clear"]})
    driven.find = smooth.find
    driven.run()
    assert len(driven.records) == 6
    driven.ask(questions)
    driven.run()
    assert trained(driven.records) == trained(smooth.records)
    assert [asked.is_afterwards for asked in driven.ledger.asked] == [False, True]
