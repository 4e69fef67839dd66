"""What a plan would change in the ledger that is there is told, content included."""

import shutil
from pathlib import Path

from raykd.config.load import plain
from raykd.sweep.ledger import SweepPaths, read_ledger, write_index, write_records
from raykd.sweep.plan.changes import difference
from raykd.sweep.plan.plan import SweepPlan, plan_sweep

from tests.small_runs import small_data
from tests.study_files import STUDY, study_in
from tests.sweep_files import SMALL, sweep_in, write_runs


def noted(plan: SweepPlan) -> None:
    """Leave the ledger that a start of a sweep leaves."""
    paths = SweepPaths(sweep=plan.uri)
    ids = [record.id for record in plan.records]
    write_index(paths, sweep=plain(plan.sweep), run_ids=ids)
    write_records(paths, plan.records)


def other_data(path: Path) -> None:
    shutil.rmtree(path)
    small_data(path, seed=1)


def test_data_that_have_changed_in_their_place_are_told(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path))
    before = plan_sweep(sweep)
    noted(before)
    assert difference(read_ledger(before.uri), plan_sweep(sweep)).lines() == []
    other_data(tmp_path / "data")
    change, *counts = difference(read_ledger(before.uri), plan_sweep(sweep)).lines()
    assert change.startswith(f"{tmp_path}/data holds something else than for the runs there are: ")
    assert len(counts) == 4


def test_probes_that_are_asked_otherwise_are_counted_as_such(tmp_path: Path) -> None:
    before = plan_sweep(study_in(tmp_path, seeds=[1]))
    noted(before)
    topics = STUDY["probes"]["topics"] | {"at": [1], "seeds": [1, 2]}
    after = plan_sweep(study_in(tmp_path, seeds=[1], probes={"topics": topics}))
    *changes, new, dropped = difference(read_ledger(before.uri), after).lines()
    assert changes[:2] == [
        "probes.topics.seeds: [1] -> [1, 2]",
        "probes.topics.at: [0.1, 1.0] -> [1.0]",
    ]
    # Of 13 trials, two probes at two of their steps before.
    assert (new, dropped) == ("13 probes new", "39 probes dropped")


def test_a_plan_that_goes_on_with_another_keeps_to_the_inputs_of_that(tmp_path: Path) -> None:
    sweep = sweep_in(write_runs(tmp_path))
    plan = plan_sweep(sweep)
    other_data(tmp_path / "data")
    before, kept, anew = (
        [record.id for record in each.records]
        for each in (plan, plan_sweep(sweep, find=plan.find), plan_sweep(sweep))
    )
    assert kept == before
    assert not set(anew) & set(before)


def test_a_new_question_is_told_as_it_is_written(tmp_path: Path) -> None:
    beside = write_runs(tmp_path)
    before = plan_sweep(sweep_in(beside, teachers={"small": SMALL}, seeds=[1, 2]))
    noted(before)
    question = {"compare": {"teacher": "small"}, "with": {"control": True}, "expect": "worse"}
    after = plan_sweep(
        sweep_in(beside, teachers={"small": SMALL}, seeds=[1, 2], questions={"harm": question})
    )
    assert difference(read_ledger(before.uri), after).lines() == [
        f"questions.harm: None -> {question!r}"
    ]
