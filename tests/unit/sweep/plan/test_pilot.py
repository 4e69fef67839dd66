"""A study's pilot is another study, which was started."""

from pathlib import Path

import pytest
from raykd.config.load import plain
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.ledger import SweepPaths, write_index
from raykd.sweep.plan.pilot import pilot_of, pilot_problems
from raykd.sweep.plan.plan import plan_sweep, sweep_uri

from tests.sweep_files import sweep_in, write_runs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_runs(tmp_path)


def problems_of(sweep: SweepConfig) -> list[str]:
    return pilot_problems(sweep, own_uri=sweep_uri(sweep))


def begin(sweep: SweepConfig) -> str:
    write_index(SweepPaths(sweep=sweep_uri(sweep)), sweep=plain(sweep), run_ids=())
    return sweep_uri(sweep)


def test_a_study_that_was_started_is_a_pilot_wherever_a_slash_ends_its_name(
    directory: Path,
) -> None:
    place = begin(sweep_in(directory, name="small"))
    for named in (place, f"{place}/"):
        sweep = sweep_in(directory, pilot=named)
        assert problems_of(sweep) == []
        pilot = pilot_of(sweep)
        assert pilot is not None
        assert pilot.sweep["name"] == "small"


def test_a_study_without_a_pilot_has_none(directory: Path) -> None:
    sweep = sweep_in(directory)
    assert problems_of(sweep) == []
    assert pilot_of(sweep) is None


def test_a_place_without_a_study_is_a_problem_of_the_plan(directory: Path) -> None:
    place = str(directory / "nothing")
    (problem,) = plan_sweep(sweep_in(directory, pilot=place)).problems
    assert problem.startswith(f"pilot={place} holds no sweep: give the directory")


def test_a_study_is_no_pilot_of_itself(directory: Path) -> None:
    place = begin(sweep_in(directory))
    (problem,) = problems_of(sweep_in(directory, pilot=f"{place}/"))
    assert problem == f"pilot={place}/ is this sweep, whose results count anyway: leave it out"
