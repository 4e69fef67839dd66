"""Sweeps that cannot be planned: each is one message, and nothing is written."""

from pathlib import Path

import pytest

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows
from tests.unit.bad_input.spoiling import removed, written

_WEIGHT = "search.losses.forward_kl.weight"

_SWEEPS = [
    bad(f"sweep:{override}", f"report sweep.yaml '{override}'", "sweep.yaml: ", *needles)
    for override, *needles in (
        ("name=a b", "name must consist of letters, digits", "got 'a b'"),
        ("num_samples=0", "num_samples must be >= 1, got 0"),
        ("num_samples=2", "num_samples needs a key that is drawn"),
        ("searcher=optuna", "searcher=optuna needs a key that is drawn"),
        ("seeds=[1, 1]", "seeds has one twice: [1, 1]"),
        ("seeds=[-1]", "seeds must be in [0, 2^31), got [-1]"),
        ("teachers={a b: {model: x}}", "teachers.a b: the name must consist of letters, digits"),
        ("probes.a={run: x, seeds: [-1]}", "probes.a.seeds must be in [0, 2^31), got [-1]"),
        ("probes.a={run: x, at: [0]}", "probes.a.at must be in (0, 1], got [0.0]"),
        ("metric=probe/a", "metric=probe/a: no probe of that name is asked", "they are none"),
        ("max_concurrent_trials=0", "max_concurrent_trials must be >= 1, got 0"),
        ("max_failures=-1", "max_failures must be >= 0, got -1"),
        ("time_budget_minutes=0", "time_budget_minutes must be > 0, got 0"),
        ("mode=most", "mode: expected min | max, got 'most'"),
        ("teachers.big.run=x.yaml", "teachers.big needs exactly one of run, model and unigram"),
        ("teachers.big.milestones=[0.5]", "overrides and milestones belong to a run"),
        ("teachers.big.milestones=[2]", "teachers.big.milestones must be in (0, 1], got [2.0]"),
        ("teachers.big.modle=x", "teachers.big.modle: no such key; did you mean"),
        ("scheduler.asha.first_rung=1", "scheduler.asha.first_rung must be in (0, 1), got 1.0"),
        ("scheduler.asha.reduction_factor=1", "reduction_factor must be > 1, got 1.0"),
        ("nodes.a={cpus: 0}", "nodes.a.cpus must be > 0, got 0"),
        ("nodes.a={}", "nodes.a"),
        ("pairs.a={}", "pairs.a is empty: give at least one value"),
        ("pairs.a={x: {a: 1}, y: {b: 1}}", "pairs.a.y lacks a: all values must give the same"),
        ("exclude=[{nope: 1}]", "exclude[0] names nope, which is no coordinate"),
        ("search={train.seed: {grid: [1]}}", "train.seed is searched: give seeds instead"),
        ("search={train.num_steps: {}}", "needs exactly one of grid, choice", "got none"),
        ("search={train.num_steps: {grid: []}}", "grid is empty: give at least one value"),
        ("search={x: {uniform: [2, 1]}}", "search.x.uniform must be [low, high]", "[2.0, 1.0]"),
        ("search={x: {log_uniform: [0, 1]}}", "search.x.log_uniform must begin above 0"),
    )
]

_PLANS = [
    bad("nonsense", "sweep sweep.yaml nonsense=1", "'nonsense=1': no such key; did you mean"),
    bad("no-base", "sweep sweep.yaml base=no.yaml", "no.yaml: no such file"),
    bad(
        "is-run",
        "sweep run.yaml train.seed=2",
        "run.yaml: is a run, not a sweep",
        "raykd train run.yaml train.seed=2 trains it",
    ),
    bad("report-run", "report run.yaml", "run.yaml: is a run, not a sweep", "raykd evaluate"),
    bad("sweep-directory", "sweep data", "data: is a directory", "give the YAML file"),
    bad(
        "base-forgotten",
        "sweep s.yaml",
        "s.yaml: 1 problem(s)",
        "base is required",
        spoil=written("s.yaml", "name: s\nsearch: {train.seed: {grid: [1]}}\n"),
    ),
    bad("no-file", "sweep no.yaml", "no.yaml: no such file"),
    bad(
        "base-is-sweep",
        "sweep sweep.yaml base=sweep.yaml",
        "sweep.yaml: is a sweep, not a run",
    ),
    bad(
        "bad-base",
        "sweep sweep.yaml",
        "study: some trials cannot run",
        "data is required",
        spoil=written("kd.yaml", "train: {seed: -1}\n"),
    ),
    bad(
        "teacher-is-sweep",
        "sweep sweep.yaml 'teachers={a: {run: sweep.yaml}}'",
        "sweep.yaml: is a sweep, not a run",
    ),
    bad("key", "sweep sweep.yaml 'search={train.sead: {grid: [1]}}'", "train.sead"),
    bad(
        "type",
        "sweep sweep.yaml 'search={train.num_steps: {grid: [x]}}'",
        "train.num_steps",
        "'x'",
    ),
    bad("data", "sweep sweep.yaml data.uri=nowhere", "nowhere: holds no committed data directory"),
    bad("model", "sweep sweep.yaml teachers.big.model=./nowhere", "./nowhere: no such directory"),
    bad(
        "weights",
        "sweep sweep.yaml",
        "there is no model.safetensors",
        spoil=removed("teacher/model.safetensors"),
    ),
    bad("overrides", "report data seeds=[1]", "data: is a directory, which takes no seeds=[1]"),
    bad("not-there", "report nowhere", "nowhere: holds no sweep; give the directory"),
    bad("report-data", "report data", "data: holds no sweep; give the directory"),
    bad(
        "measure", "check run.yaml --no-measure", "is a run, --no-measure is for sweeps; leave it"
    ),
    bad(
        "init", "check sweep.yaml --init", "is a sweep, --init is for runs; check its base with it"
    ),
]


@rows([*_SWEEPS, *_PLANS])
def test_a_sweep_that_cannot_be_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)
