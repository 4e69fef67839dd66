"""Which trials share a process, what that takes, and how a study hands them out."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.run import RunConfig
from raykd.runs.retry import FailureKind
from raykd.sweep.grid.shared_processes import by_process, sharing_key
from raykd.sweep.plan.cost import cost_left
from raykd.sweep.plan.payment import teacher_payments
from raykd.sweep.plan.plan import plan_sweep
from raykd.sweep.plan.planned_runs import need_of_process
from raykd.sweep.record import State
from raykd.sweep.study.study import Limits

from tests.small_runs import TINY_BERT, small_run
from tests.sweep_files import BOTH_LOSSES, SMALL, WEIGHT, sweep_in
from tests.unit.sweep.study.simulator import Cluster, Script
from tests.unit.sweep.study.studies import FALLING, finish, handed_out, run_of, study_of


@pytest.mark.parametrize(
    ("keys", "most", "expected"),
    [
        ("aaaa", 1, ["0", "1", "2", "3"]),
        ("aaaa", 4, ["0123"]),
        ("aaaaa", 4, ["012", "34"]),
        ("aaaaaa", 4, ["012", "345"]),
        ("abab", 4, ["02", "13"]),
        ("a-a-b", 2, ["02", "1", "3", "4"]),
        ("", 2, []),
    ],
)
def test_runs_are_shared_out_evenly_in_the_order_of_their_first(
    keys: str, most: int, expected: list[str]
) -> None:
    runs = [(str(index), None if key == "-" else key) for index, key in enumerate(keys)]
    found = by_process(runs, key=lambda run: run[1], most=most)
    assert ["".join(name for name, _ in process) for process in found] == expected


def run_with(tmp_path: Path, **changes: Any) -> RunConfig:
    given = {"teachers": {"big": {"model": "m"}}, "losses": BOTH_LOSSES}
    return small_run(tmp_path, **(given | changes))


HIDDEN = {"losses": {"forward_kl": {}, "hidden_states": {"weight": "0.5"}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": {"forward_kl": {"weight": "3", "temperature": "2"}}},
        {"losses": {"reverse_kl": {}}},
        {"student": {"architecture": TINY_BERT | {"num_layers": 1}}},
        {"student": {"architecture": TINY_BERT, "init": {"copy_layers": {}}}},
        {"optimizer": {"learning_rate": 1.0}},
        {"checkpoint": {"every_steps": 1}},
        {"name": "other"},
    ],
)
def test_trials_share_a_process_that_read_and_ask_the_same(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    key = sharing_key(run_with(tmp_path))
    assert key is not None
    assert sharing_key(run_with(tmp_path, **changes)) == key


@pytest.mark.parametrize(
    "changes",
    [
        {"train__seed": 1},
        {"train__micro_batch_size": 8},
        {"train__global_batch_size": 16},
        {"train__num_steps": 7},
        {"data__languages": ["de"]},
        {"data__bucket_steps": 2},
        {"data__masking": {"fraction": 0.5}},
        {"teachers": {"big": {"model": "m", "dtype": "bfloat16"}}},
        {"teachers": {"big": {"model": "n"}}},
        {"teachers": {"big": {"model": "m", "cache": {}}}},
        {"teachers": {"big": {"model": "m"}, "other": {"model": "n"}}},
        {"task": "causal_lm", "student": {"architecture": TINY_BERT | {"model_type": "gpt2"}}},
        {"cluster": {"num_workers": 0, "cpus_per_worker": 2}},
        HIDDEN,
    ],
)
def test_trials_that_read_or_ask_otherwise_do_not(tmp_path: Path, changes: dict[str, Any]) -> None:
    key = sharing_key(run_with(tmp_path, **changes))
    assert key is not None
    assert key != sharing_key(run_with(tmp_path))


def test_what_a_loss_on_layers_asks_depends_on_the_student(tmp_path: Path) -> None:
    key = sharing_key(run_with(tmp_path, **HIDDEN))
    heavier = {"losses": {"forward_kl": {}, "hidden_states": {"weight": "2"}}}
    assert sharing_key(run_with(tmp_path, **heavier)) == key
    student = {"student": {"architecture": TINY_BERT | {"num_layers": 1}}}
    assert sharing_key(run_with(tmp_path, **HIDDEN, **student)) != key


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": {"cross_entropy": {}}, "teachers": {}},
        {"losses": {"cross_entropy": {}, "forward_kl": {"weight": "0"}}},
        {"teachers": {"big": {"model": "m", "cache": {"mode": "top_k"}}}},
        {
            "task": "sequence_classification",
            "teachers": {"big": {"model": "m", "cache": {}}},
        },
        {"data__mixing": {"adaptive": {}}},
        {"train__compile": True},
        {"train__profile_steps": [1, 2]},
        {"cluster": {"num_workers": 2}},
        {"cluster": {"num_workers": 0, "overlap_teacher": True}},
    ],
)
def test_trials_that_gain_nothing_or_must_be_alone_are(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert sharing_key(run_with(tmp_path, **changes)) is None


# The study


def test_a_shared_process_counts_once_and_its_ends_are_told_one_by_one(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name, sharing_key="k") for name in "abcd"]
    study = study_of(
        tmp_path, [*records, run_of(tmp_path, "e")], Limits(at_once=2), trials_per_process=3
    )
    assert [record.id for record in study.next_process()] == ["a", "b"]
    assert [record.id for record in study.next_process()] == ["c", "d"]
    assert handed_out(study) == []
    for name in "ab":
        study.started(name)
    finish(study, "a")
    assert (study.is_out("a"), study.is_out("b")) == (False, True)
    assert handed_out(study) == []
    finish(study, "b")
    assert handed_out(study) == ["e"]


def test_what_fails_waits_for_its_process_and_then_starts_alone(tmp_path: Path) -> None:
    records = [run_of(tmp_path, name, sharing_key="k") for name in "abc"]
    clock = itertools.count(step=1000).__next__
    study = study_of(tmp_path, records, Limits(at_once=5, clock=clock), trials_per_process=3)
    assert handed_out(study) == ["a", "b", "c"]
    for name in "abc":
        study.started(name)
    for name in "ab":
        study.failed(name, error_class="OSError", error="away", kind=FailureKind.WORKER_DIED)
    assert study.records["a"].state is State.WAITING
    assert handed_out(study) == []
    finish(study, "c")
    assert [record.id for record in study.next_process()] == ["a"]
    assert [record.id for record in study.next_process()] == ["b"]
    study.started("a")
    assert [attempt.num_sharing for attempt in study.records["a"].attempts] == [3, 1]


@pytest.mark.parametrize("trials_per_process", [1, 2, 3])
def test_shared_processes_change_nothing_that_a_study_finds(
    tmp_path: Path, trials_per_process: int
) -> None:
    names = "abcdef"
    records = [run_of(tmp_path, name, sharing_key="k") for name in names]
    scripts = {name: Script(values=FALLING, failures=name == "b") for name in names}
    study = study_of(tmp_path, records, trials_per_process=trials_per_process)
    Cluster(scripts).run(study)
    assert {record.state for record in study.records.values()} == {State.DONE}
    assert [len(record.attempts) for record in study.records.values()] == [1, 2, 1, 1, 1, 1]


# The plan


def test_a_shared_process_pays_the_teacher_once_and_takes_its_memory_once(directory: Path) -> None:
    given = {"search": {WEIGHT: {"grid": [1, 2, 3, 4]}}, "nodes": NODES}
    apart = plan_sweep(sweep_in(directory, **given))
    shared = plan_sweep(sweep_in(directory, **given, trials_per_process=2))
    assert shared.problems == ()
    # One control, which asks nobody, and two processes.
    assert sorted(map(len, shared.processes)) == [1, 2, 2]
    costs = [
        cost_left(plan.trials, most=plan.sweep.trials_per_process) for plan in (apart, shared)
    ]
    assert costs[1].teacher_flops == costs[0].teacher_flops / 2
    assert costs[1].student_flops == costs[0].student_flops
    single, double = (
        next(need_of_process(p).memory_bytes for p in shared.processes if len(p) == size)
        for size in (1, 2)
    )
    assert single is not None
    assert double is not None
    assert single < double < 2 * single


def test_a_shared_process_that_does_not_fit_is_a_problem(directory: Path) -> None:
    given = {"search": {WEIGHT: {"grid": [1, 2]}}, "trials_per_process": 2}
    whole = plan_sweep(sweep_in(directory, **given))
    largest, smallest = (
        pick(need_of_process(process).memory_bytes or 0 for process in whole.processes)
        for pick in (max, min)
    )
    nodes = {"small": {"cpus": 8, "memory_gb": (largest + smallest) / 2e9}}
    (problem,) = plan_sweep(sweep_in(directory, **given, nodes=nodes)).problems
    assert "2 trials of one process: 1 worker(s) need about" in problem
    assert problem.endswith("or lower trials_per_process")


NODES = {"big": {"cpus": 8}}
CACHED: dict[str, Any] = {"small": SMALL | {"cache": {}}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ["by each of 3 trial(s), as there is no cache and trials_per_process is 1"]),
        (
            {"trials_per_process": 4},
            ["by processes of up to 3: 3 trial(s) in 1 process(es), as trials_per_process is 4"],
        ),
        (
            {"trials_per_process": 2},
            [
                "by processes of up to 2: 2 trial(s) in 1 process(es), as trials_per_process is 2",
                "by each of 1 trial(s), as no other reads the same batches beside it",
            ],
        ),
        (
            {"teachers": CACHED, "trials_per_process": 2},
            [
                "by a cache: 3 trial(s), whose teachers have one; "
                "2 make its scores once for each of 1 process(es)"
            ],
        ),
        (
            {"teachers": CACHED, "max_concurrent_trials": 2},
            [
                "by a cache: 3 trial(s), whose teachers have one; "
                "trials_per_process=2 would have each process make its scores once"
            ],
        ),
        (
            {"teachers": CACHED},
            ["by a cache: 3 trial(s), whose teachers have one"],
        ),
        (
            {"teachers": {"none": {"unigram": {}}}},
            ["by nobody: 3 trial(s), whose teacher is a unigram"],
        ),
        (
            {"trials_per_process": 2, "overrides": {"cluster.num_workers": 2}},
            [
                "by each of 3 trial(s) that are compiled, have several workers or mix "
                "adaptively, and so share no process"
            ],
        ),
        ({"search": {WEIGHT: {"grid": [0]}}, "trials_per_process": 2}, []),
    ],
)
def test_the_plan_says_who_pays_the_teacher_and_why(
    directory: Path, given: dict[str, Any], expected: list[str]
) -> None:
    sweep = sweep_in(
        directory, **({"search": {WEIGHT: {"grid": [1, 2, 3]}}, "nodes": NODES} | given)
    )
    assert list(teacher_payments(plan_sweep(sweep))) == expected
