"""`raykd train` with workers, interrupted as users and machines do it: nothing is lost."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.runs.checkpoint import committed_steps
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run

import ray
from tests.ray.support.running import processes_called
from tests.small_runs import small_data, small_run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

NUM_STEPS = 100_000
_POLL_SECONDS = 0.1

Program = subprocess.Popen[str]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    small_data(tmp_path / "data")
    changes: dict[str, Any] = {
        "train__num_steps": NUM_STEPS,
        "train__eval_every_steps": NUM_STEPS,
        # Only a checkpoint that is written when asked to stop is there to continue from.
        "checkpoint": {"every_steps": NUM_STEPS},
        "cluster": {"num_workers": 1},
    }
    return small_run(tmp_path, **changes)


def started(config: RunConfig, directory: Path) -> Program:
    """Start the command in a group of processes of its own, as a shell does."""
    file = directory / "run.yaml"
    file.write_text(as_yaml(config))
    return subprocess.Popen(
        [sys.executable, "-m", "raykd", "train", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], program: Program) -> None:
    pause = threading.Event()
    while not condition():
        assert program.poll() is None, program.communicate()[0]
        pause.wait(_POLL_SECONDS)


def has_records(config: RunConfig, count: int) -> bool:
    return num_records(config) > count


def num_records(config: RunConfig) -> int:
    path = Path(run_paths(config).metrics)
    return len(path.read_text().splitlines()) if path.exists() else 0


def interrupt_by_keyboard(program: Program) -> None:
    """Send what Ctrl-C sends: to everything the command has started, too."""
    os.killpg(program.pid, signal.SIGINT)


def test_an_interrupted_run_leaves_with_a_checkpoint_and_continues(
    config: RunConfig, tmp_path: Path
) -> None:
    steps = [0]
    for interrupt in (interrupt_by_keyboard, subprocess.Popen.terminate):
        before = num_records(config)
        program = started(config, tmp_path)
        wait_until(partial(has_records, config, before + 5), program)
        interrupt(program)
        output, _ = program.communicate()
        steps.append(committed_steps(run_paths(config).checkpoints)[-1])
        assert program.returncode == 1, output
        assert f"stopped after step {steps[-1]} of {NUM_STEPS}, with a checkpoint" in output
        assert "the same command continues" in output
        assert not Path(run_paths(config).lease).exists()
        assert not Path(run_paths(config).ray).exists()
    assert steps == sorted(set(steps))
    records = [int(record["step"]) for record in read_metrics(run_paths(config).metrics)]
    assert records == list(range(1, steps[-1] + 1))


def test_the_second_interrupt_ends_it_at_once(config: RunConfig, tmp_path: Path) -> None:
    program = started(config, tmp_path)
    wait_until(lambda: num_records(config) > 5, program)
    # Held, so that the workers cannot stop: the first interrupt alone would wait for ever.
    stop_workers(program)
    program.send_signal(signal.SIGINT)
    # Another one: two of a kind may come as one.
    program.send_signal(signal.SIGTERM)
    output, _ = program.communicate()
    assert program.returncode == 1, output
    assert "interrupted; what is finished stays" in output
    assert committed_steps(run_paths(config).checkpoints) == []
    assert not Path(run_paths(config).lease).exists()


def test_an_interrupt_in_a_program_of_ones_own_leaves_nothing_of_ray_behind(
    config: RunConfig,
) -> None:
    def interrupt_after_some_steps() -> bool:
        if has_records(config, 5):
            raise KeyboardInterrupt
        return False

    listener = Listener(
        on_record=lambda _: None, on_message=print, should_stop=interrupt_after_some_steps
    )
    with pytest.raises(KeyboardInterrupt):
        train_run(config, fresh=False, address="local", listener=listener)
    # One that still waits for Ray, which is shut down, may end the process at any moment.
    assert "raykd-fit" not in [thread.name for thread in threading.enumerate()]
    assert not ray.is_initialized()
    assert not Path(run_paths(config).lease).exists()


def stop_workers(program: Program) -> None:
    for process in processes_called("RayTrainWorker", root=program.pid):
        process.send_signal(signal.SIGSTOP)
