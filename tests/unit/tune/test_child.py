"""A run in a process of its own trains as one in this process, and takes everything with it."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from raykd.config.schema.run import RunConfig
from raykd.errors import NonFiniteLossError
from raykd.models.load import save_model
from raykd.runs.checkpoint import committed_steps
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.runs.result import read_result
from raykd.runs.stop import StopReason
from raykd.train.run import Listener, leased_run, train_run
from raykd.tune.arguments import SharedRun
from raykd.tune.child import GRACE_SECONDS, Metrics, Watch, train_in_child

from tests.small_runs import small_data, small_run
from tests.tiny_models import tiny_model

# The server that children are forked from imports everything once.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def child_run(directory: Path, **changes: Any) -> RunConfig:
    return small_run(directory, **{"cluster": {"num_workers": 1}} | changes)


def holder(config: RunConfig) -> int:
    """Return the process that writes a run."""
    pid: int = json.loads(Path(run_paths(config).lease).read_text())["process_id"]
    return pid


def shared_run(config: RunConfig) -> SharedRun:
    paths = run_paths(config)
    return SharedRun(run=paths.name, config=config, log_uri=paths.log)


def train(
    config: RunConfig,
    report: Callable[[Metrics], None],
    asked: Callable[[], StopReason] = lambda: StopReason.NONE,
    grace_seconds: float = GRACE_SECONDS,
) -> StopReason:
    """Train a run in a child; return why it stopped, or raise what it raised."""
    ends: list[StopReason | Exception] = []
    watch = Watch(
        report=lambda _, metrics: report(metrics),
        ended=lambda _, end: ends.append(end),
        stop_reason=lambda _: asked(),
    )
    train_in_child([shared_run(config)], watch, grace_seconds=grace_seconds)
    (end,) = ends
    if isinstance(end, Exception):
        raise end
    return end


def refuse(_: Metrics) -> None:
    pytest.fail("it has begun")


def trained(config: RunConfig) -> list[Metrics]:
    told: list[Metrics] = []
    assert train(config, told.append) is StopReason.NONE
    return told


def test_it_does_what_a_run_in_this_process_does(directory: Path) -> None:
    here = small_run(directory, output_uri=str(directory / "here"))
    quiet = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    train_run(here, fresh=False, address="local", listener=quiet)
    there = child_run(directory)
    told = trained(there)
    assert told == evaluations(run_paths(here).metrics)
    assert evaluations(run_paths(there).metrics) == told
    (line,) = Path(run_paths(there).log).read_text().splitlines()
    assert "machine: 1 thread(s)" in line
    # A run that is done says nothing new.
    assert trained(there) == []


def test_each_run_has_a_process_that_is_gone_at_its_end(directory: Path) -> None:
    pids = []
    for seed in (1, 2):
        config = child_run(directory, train__seed=seed)
        train(config, lambda _: pids.append(holder(config)))  # noqa: B023  called at once
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert not any(map(psutil.pid_exists, pids))


def test_an_error_is_raised_here_and_told_in_the_log(directory: Path) -> None:
    config = child_run(directory, optimizer={"learning_rate": 1e30, "warmup_fraction": 0.0})
    with pytest.raises(NonFiniteLossError, match="the loss is"):
        trained(config)
    assert "Traceback" in Path(run_paths(config).log).read_text()


def test_a_killed_process_is_an_error_and_the_run_continues(directory: Path) -> None:
    config = child_run(directory)

    def kill(_: Metrics) -> None:
        os.kill(holder(config), signal.SIGKILL)

    with pytest.raises(ChildProcessError, match="exit code -9"):
        train(config, kill)
    assert read_result(run_paths(config)) is None
    trained(config)
    result = read_result(run_paths(config))
    assert result is not None
    assert result.is_done


def test_a_run_ends_with_whoever_asked_for_it(directory: Path) -> None:
    config = child_run(directory, train__num_steps=10_000)
    pids = []

    def stop(_: Metrics) -> None:
        pids.append(holder(config))
        raise SystemExit

    with pytest.raises(SystemExit):
        train(config, stop)
    assert not psutil.pid_exists(pids[0])


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint_and_repeats_nothing(
    directory: Path,
) -> None:
    config = child_run(
        directory, train__num_steps=12, checkpoint={"every_steps": 1000, "keep_best": False}
    )
    paths = run_paths(config)
    told: list[Metrics] = []

    def asked() -> StopReason:
        return StopReason.STOPPED if len(told) == 2 else StopReason.NONE

    assert train(config, told.append, asked) is StopReason.STOPPED
    # It hears of the request with the answer to its evaluation.
    assert committed_steps(paths.checkpoints) == [told[-1]["step"]]
    assert read_result(paths) is None
    rest = trained(config)
    assert rest[0]["step"] > told[-1]["step"]
    whole = child_run(directory, train__num_steps=12, output_uri=str(directory / "whole"))
    trained(whole)
    assert evaluations(paths.metrics) == told + rest == evaluations(run_paths(whole).metrics)


def test_a_request_that_is_there_before_leaves_nothing(directory: Path) -> None:
    config = child_run(directory)
    assert train(config, refuse, lambda: StopReason.PREEMPTED) is StopReason.PREEMPTED
    assert not Path(run_paths(config).run).exists()


def test_a_run_that_does_not_stop_in_time_is_killed(directory: Path) -> None:
    config = child_run(directory, train__num_steps=10_000)
    pids: list[int] = []

    def hang(_: Metrics) -> None:
        pids.append(holder(config))
        os.kill(pids[0], signal.SIGSTOP)

    def asked() -> StopReason:
        return StopReason.STOPPED if pids else StopReason.NONE

    assert train(config, hang, asked, grace_seconds=0) is StopReason.STOPPED
    assert not psutil.pid_exists(pids[0])


def test_a_run_that_waits_for_another_driver_stops_at_once(directory: Path) -> None:
    config = child_run(directory)
    looks = iter([StopReason.NONE, StopReason.NONE])
    with leased_run(config, has_workers=False):
        reason = train(config, refuse, lambda: next(looks, StopReason.STOPPED))
    assert reason is StopReason.STOPPED


# Processes that runs share


@pytest.fixture
def shared(directory: Path) -> dict[str, RunConfig]:
    """Return runs that share a teacher and twelve steps, by their ids."""
    save_model(tiny_model("bert", "masked_lm", hidden_size=16), directory / "teacher")
    configs = [
        child_run(
            directory,
            teachers={"big": {"model": str(directory / "teacher")}},
            losses={"cross_entropy": {}, "forward_kl": {"weight": weight}},
            train__num_steps=12,
            **changes,
        )
        for weight, changes in (
            ("1", {}),
            ("2", {}),
            ("3", {"optimizer": {"learning_rate": 1e30, "warmup_fraction": 0.0}}),
        )
    ]
    return {run_paths(config).name: config for config in configs}


def test_runs_train_in_one_process_and_each_ends_for_itself(
    directory: Path, shared: dict[str, RunConfig]
) -> None:
    told: list[tuple[str, Metrics]] = []
    ends: dict[str, StopReason | Exception] = {}
    pids: set[int] = set()
    first, second, bad = shared

    def report(run: str, metrics: Metrics) -> None:
        told.append((run, metrics))
        pids.add(holder(shared[run]))

    def asked(run: str) -> StopReason:
        # Decided by its own second evaluation, and heard with the answer to that.
        is_second = [name for name, _ in told].count(second) == 2
        return StopReason.STOPPED if run == second and is_second else StopReason.NONE

    watch = Watch(report=report, ended=ends.__setitem__, stop_reason=asked)
    train_in_child([shared_run(config) for config in shared.values()], watch)
    assert list(ends) == [bad, second, first]
    assert isinstance(ends[bad], NonFiniteLossError)
    assert (ends[second], ends[first]) == (StopReason.STOPPED, StopReason.NONE)
    assert len(pids) == 1
    assert [m["step"] for run, m in told if run == second] == [3, 6]
    assert committed_steps(run_paths(shared[second]).checkpoints)[-1] == 6
    alone = child_run(
        directory,
        teachers={"big": {"model": str(directory / "teacher")}},
        losses={"cross_entropy": {}, "forward_kl": {"weight": "1"}},
        train__num_steps=12,
        output_uri=str(directory / "alone"),
    )
    assert trained(alone) == [metrics for run, metrics in told if run == first]
    # What each prints in its turns is in its own log.
    logs = {run: Path(run_paths(config).log).read_text() for run, config in shared.items()}
    assert [run for run, text in logs.items() if "Traceback" in text] == [bad]
    assert all("machine: 1 thread(s)" in text for text in logs.values())


def test_the_death_of_a_process_is_that_of_its_runs_but_for_those_that_had_ended(
    shared: dict[str, RunConfig],
) -> None:
    ends: dict[str, StopReason | Exception] = {}
    *living, bad = shared

    def kill(run: str, _: Metrics) -> None:
        os.kill(holder(shared[run]), signal.SIGKILL)

    watch = Watch(report=kill, ended=ends.__setitem__, stop_reason=lambda _: StopReason.NONE)
    train_in_child([shared_run(config) for config in shared.values()], watch)
    assert isinstance(ends[bad], NonFiniteLossError)
    assert {type(ends[run]) for run in living} == {ChildProcessError}


def test_a_shared_process_that_is_asked_to_stop_stops_together(
    shared: dict[str, RunConfig],
) -> None:
    shared.popitem()
    told: list[str] = []
    ends: dict[str, StopReason | Exception] = {}
    watch = Watch(
        report=lambda run, _: told.append(run),
        ended=ends.__setitem__,
        stop_reason=lambda _: StopReason.PREEMPTED if told else StopReason.NONE,
    )
    train_in_child([shared_run(config) for config in shared.values()], watch)
    assert ends == dict.fromkeys(shared, StopReason.PREEMPTED)
    steps = [committed_steps(run_paths(config).checkpoints)[-1] for config in shared.values()]
    assert set(steps) == {3}


def test_a_shared_process_that_waits_for_its_first_run_holds_none(
    shared: dict[str, RunConfig],
) -> None:
    first, *others = sorted(shared)
    told: list[StopReason] = []

    def asked(_: str) -> StopReason:
        is_waiting = Path(run_paths(shared[first]).log).exists()
        told.extend([StopReason.STOPPED] if is_waiting else [])
        # Asked once more than needed, so that what it does while it waits can be seen.
        return StopReason.STOPPED if len(told) > 3 else StopReason.NONE

    with leased_run(shared[first], has_workers=False):
        shared_runs = [shared_run(shared[run]) for run in (*others, first)]
        watch = Watch(report=lambda *_: refuse({}), ended=lambda *_: None, stop_reason=asked)
        train_in_child(shared_runs, watch)
    assert not any(Path(run_paths(shared[run]).run).exists() for run in others)
