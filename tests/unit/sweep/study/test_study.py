"""What a study hands out, in which order, and which trials it stops early."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raykd.sweep.record import Record, State, Stop
from raykd.sweep.study.study import Limits, Study

from tests.unit.sweep.study.simulator import (
    Cluster,
    Script,
    evaluation,
)
from tests.unit.sweep.study.studies import (
    ASHA,
    FALLING,
    RUNGS,
    finish,
    handed_out,
    paths_in,
    run_of,
    states,
    study_of,
    sweep_of,
    written,
)

# The order of the plan


def test_runs_start_in_the_order_of_the_plan_so_many_at_once(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in "edcba"]
    cluster = Cluster({name: Script(values=FALLING) for name in "edcba"})
    study = study_of(tmp_path, records, Limits(at_once=3))
    cluster.run(study)
    assert cluster.started == list("edcba")
    assert cluster.most_at_once == 3
    assert set(states(written(tmp_path, records)).values()) == {State.DONE}


def test_a_trial_waits_for_its_stages_and_others_go_first(tmp_path: Path) -> None:
    records = [
        run_of(tmp_path, "first", kind="stage"),
        run_of(tmp_path, "second", kind="stage"),
        run_of(tmp_path, "one", needs=("first",)),
        run_of(tmp_path, "both", needs=("first", "second")),
        run_of(tmp_path, "none"),
    ]
    study = study_of(tmp_path, records, Limits(at_once=9))
    assert handed_out(study) == ["first", "second", "none"]
    for stage in ("second", "first"):
        study.started(stage)
    finish(study, "second")
    assert handed_out(study) == []
    finish(study, "first")
    assert handed_out(study) == ["one", "both"]
    assert not study.is_over


def test_a_run_is_handed_out_once(tmp_path: Path) -> None:
    study = study_of(tmp_path, [run_of(tmp_path, "a"), run_of(tmp_path, "b")], Limits(at_once=9))
    assert handed_out(study) == ["a", "b"]
    assert handed_out(study) == []
    assert not study.is_over


def test_what_is_done_already_is_left_alone(tmp_path: Path) -> None:
    records = [run_of(tmp_path, "a", state=State.DONE), run_of(tmp_path, "b", needs=("a",))]
    study = study_of(tmp_path, records)
    assert handed_out(study) == ["b"]
    assert written(tmp_path, records)["a"].is_reused


def test_only_what_is_chosen_starts(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in "abc"]
    cluster = Cluster({name: Script(values=FALLING) for name in "abc"})
    cluster.run(study_of(tmp_path, records, Limits(at_once=2, only=lambda _: {"c"})))
    assert states(written(tmp_path, records)) == {
        "a": State.WAITING,
        "b": State.WAITING,
        "c": State.DONE,
    }


def test_a_sweep_of_nothing_is_over(tmp_path: Path) -> None:
    assert study_of(tmp_path, [], scheduler=ASHA).is_over


# Early stops


def test_the_worse_of_the_first_trials_stops_at_its_rung(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in ("good", "bad")]
    scripts = {"good": Script(values=FALLING), "bad": Script(values=(9.0, 8.0, 7.0, 6.0))}
    study = study_of(tmp_path, records, Limits(at_once=1, rungs=RUNGS), scheduler=ASHA)
    Cluster(scripts).run(study)
    found = written(tmp_path, records)
    assert states(found) == {"good": State.DONE, "bad": State.STOPPED}
    assert found["bad"].stop == Stop(rung_tokens=100, step=10, value=9.0)
    assert [e["step"] for e in found["bad"].evaluations] == [10]


def test_a_decision_stands_when_the_trial_ends_before_it_is_told(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name) for name in ("good", "bad")]
    study = study_of(tmp_path, records, Limits(at_once=2, rungs=RUNGS), scheduler=ASHA)
    handed_out(study)
    for name in ("good", "bad"):
        study.started(name)
    # The later one is through before the one that it is compared with has begun.
    study.reported("bad", evaluation(0, 9.0))
    assert not study.should_stop("bad")
    finish(study, "bad")
    assert study.records["bad"].state is State.DONE
    study.records["bad"] = replace(
        study.records["bad"], evaluations=(evaluation(0, 9.0), evaluation(3, 0.0))
    )
    study.reported("good", evaluation(0, 1.0))
    assert states(written(tmp_path, records))["bad"] is State.STOPPED


def test_a_trial_with_a_further_seed_is_not_stopped_early(tmp_path: Path) -> None:
    records = [
        run_of(tmp_path, name, seed=seed) for name, seed in (("good", 1), ("bad", 2), ("more", 3))
    ]
    worse = Script(values=(9.0, 8.0, 7.0, 6.0))
    scripts = {"good": Script(values=FALLING), "bad": worse, "more": worse}
    question = {"compare": {"start": "a"}, "with": {"start": "b"}}
    limits = Limits(at_once=1, rungs=RUNGS)
    asked = {"seeds": [1, 2], "more_seeds": [3], "questions": {"q": question}}
    study = study_of(tmp_path, records, limits, scheduler=ASHA, **asked)
    Cluster(scripts).run(study)
    ended = states(written(tmp_path, records))
    assert ended == {"good": State.DONE, "bad": State.STOPPED, "more": State.DONE}


# Runs that follow from results


def test_what_follows_from_results_is_taken_up_even_where_it_is_done(tmp_path: Path) -> None:
    """Each end asks for one more run; every second one is there already."""
    every = [
        run_of(tmp_path, f"r{i}", state=State.DONE if i % 2 else State.WAITING) for i in range(6)
    ]

    def more(known: Mapping[str, Record]) -> Sequence[Record]:
        are_over = all(record.state.is_terminal for record in known.values())
        return every[: len(known) + are_over]

    study = Study(sweep_of(), paths_in(tmp_path), every[:1], limits=Limits(at_once=1), more=more)
    cluster = Cluster({record.id: Script(values=FALLING) for record in every})
    cluster.run(study)
    assert cluster.started == ["r0", "r2", "r4"]
    assert set(states(written(tmp_path, every)).values()) == {State.DONE}
    assert len(study.records) == 6


def test_a_start_with_nothing_left_asks_what_follows(tmp_path: Path) -> None:
    every = [run_of(tmp_path, "a", state=State.DONE), run_of(tmp_path, "b")]
    study = Study(
        sweep_of(),
        paths_in(tmp_path),
        every[:1],
        limits=Limits(at_once=1),
        more=lambda _: every,
    )
    assert handed_out(study) == ["b"]
