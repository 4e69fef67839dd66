"""Runs that take turns behind one teacher are the runs that they would be alone, bit by bit."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.cached_teachers.build import ensure_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.config.schema.run import RunConfig
from raykd.distill.batches import evaluation_batches
from raykd.distill.setup import read_setup
from raykd.distill.shared import SharedTeachers
from raykd.distill.world import World
from raykd.errors import DivergedError
from raykd.models.load import save_model
from raykd.runs.checkpoint import committed_steps
from raykd.runs.inputs import with_absolute_paths
from raykd.runs.paths import run_paths
from raykd.runs.stop import StopReason
from raykd.train.turns import Pause, round_robin
from raykd.train.worker import Context, train_worker

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model
from tests.unit.train.test_run import assert_equal_runs, stop_after, train

STEPS = 6
MICRO_BATCHES = 3


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    model = tiny_model(
        "bert", "masked_lm", hidden_size=16, num_heads=2, intermediate_size=32, num_layers=3
    )
    save_model(model, tmp_path / "teacher")
    return tmp_path


def shared_run(
    directory: Path, runs: str = "together", *, cache: str | None = None, **changes: Any
) -> RunConfig:
    teacher: dict[str, Any] = {"model": str(directory / "teacher")}
    if cache is not None:
        teacher["cache"] = {"mode": "hidden", "precision": cache}
    given = {
        "output_uri": str(directory / runs),
        "teachers": {"big": teacher},
        "losses": {"cross_entropy": {}, "forward_kl": {}},
    }
    return small_run(directory, **(given | changes))


VARIED: dict[str, dict[str, Any]] = {
    "plain": {},
    "hot": {"losses": {"cross_entropy": {}, "forward_kl": {"weight": "2", "temperature": "4"}}},
    "dropout": {"student": {"architecture": TINY_BERT | {"dropout": 0.2}}},
    "copied": {
        "student": {"architecture": TINY_BERT, "init": {"copy_layers": {}}},
        "optimizer": {"learning_rate": 3e-3, "weight_decay": 0.1},
    },
}


class SharedProcess:
    """Runs that share their teachers."""

    def __init__(self, configs: Mapping[str, RunConfig]) -> None:
        self._configs = configs
        self.shared = SharedTeachers()
        self.order: list[str] = []
        """Who has asked after a step whether to leave, one after the other."""

    def train(
        self, leaves: Mapping[str, Callable[[], bool]] | None = None
    ) -> dict[str, int | DivergedError]:
        """Return the step that each ended at, or its error."""
        runs = {
            name: partial(self._train, name, config, (leaves or {}).get(name, lambda: False))
            for name, config in self._configs.items()
        }
        return dict(round_robin(runs))

    def _train(
        self, name: str, config: RunConfig, leaves: Callable[[], bool], pause: Pause
    ) -> int | DivergedError:
        def stop_reason() -> StopReason:
            self.order.append(name)
            return StopReason.STOPPED if leaves() else StopReason.NONE

        context = Context(
            world=World(),
            report=lambda _: None,
            stop_reason=stop_reason,
            shared=self.shared,
            pause=pause,
        )
        config = with_absolute_paths(config)
        assert ensure_caches(config, watch=CacheWatch())
        try:
            return train_worker(config, run_paths(config), context).step
        except DivergedError as error:
            return error


def num_evaluation_batches(config: RunConfig) -> int:
    setup = read_setup(config)
    split = config.data.eval_split or ""
    return len(list(evaluation_batches(setup, setup.task("bert"), split=split, world=World())))


def files(config: RunConfig) -> dict[str, bytes]:
    """Return the newest checkpoint, without what names the run and its attempt."""
    checkpoints = run_paths(config).checkpoints
    newest = Path(checkpoints, f"step-{committed_steps(checkpoints)[-1]:08d}")
    paths = [path for path in newest.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(newest)): path.read_bytes()
        for path in paths
        if path.suffix == ".safetensors" or path.name == "state.json"
    }


def assert_as_alone(
    directory: Path, configs: Mapping[str, RunConfig], *, cache: str | None = None
) -> None:
    for name, config in configs.items():
        apart = shared_run(directory, "apart", cache=cache, **VARIED[name])
        train(apart)
        assert run_paths(apart).name == run_paths(config).name
        assert_equal_runs(apart, config)
        assert files(apart) == files(config)


@pytest.mark.parametrize("cache", [None, "float16"])
def test_runs_that_share_a_process_are_the_runs_that_they_are_alone_and_the_teacher_is_asked_once(
    directory: Path, cache: str | None
) -> None:
    configs = {
        name: shared_run(directory, cache=cache, **changes) for name, changes in VARIED.items()
    }
    process = SharedProcess(configs)
    assert process.train() == dict.fromkeys(configs, STEPS)
    assert process.order == list(configs) * STEPS
    evaluations = 2 * num_evaluation_batches(configs["plain"])
    runs = STEPS * MICRO_BATCHES + len(configs) * evaluations
    (answers,) = process.shared.answers.values()
    assert answers.num_made == runs
    assert_as_alone(directory, configs, cache=cache)


def test_runs_that_stopped_apart_go_on_together(directory: Path) -> None:
    configs = {name: shared_run(directory, **VARIED[name]) for name in ("plain", "dropout")}
    left = SharedProcess(configs).train({"plain": stop_after(2), "dropout": stop_after(4)})
    assert left == {"plain": 2, "dropout": 4}
    # One goes on alone for a while, the other joins it where they are at different steps.
    assert not train(configs["plain"], should_stop=stop_after(1)).is_done
    assert SharedProcess(configs).train() == dict.fromkeys(configs, STEPS)
    assert_as_alone(directory, configs)


def test_one_that_leaves_or_diverges_leaves_the_others_as_they_are(directory: Path) -> None:
    configs = {name: shared_run(directory, **changes) for name, changes in VARIED.items()}
    optimizer = {"learning_rate": 1e30, "warmup_fraction": 0.0}
    configs["dropout"] = shared_run(directory, **VARIED["dropout"], optimizer=optimizer)
    ends = SharedProcess(configs).train({"hot": stop_after(3)})
    assert isinstance(ends.pop("dropout"), DivergedError)
    assert ends == {"hot": 3, "plain": STEPS, "copied": STEPS}
    finished = {name: configs[name] for name in ("plain", "copied")}
    assert_as_alone(directory, finished)
    # The one that left is a run like any other.
    train(configs["hot"])
    assert_as_alone(directory, {"hot": configs["hot"]})


def test_each_has_settings_of_its_own_thread() -> None:
    seen: list[bool] = []

    def train(pause: Pause, *, has_gradients: bool) -> None:
        with torch.set_grad_enabled(has_gradients):
            pause()
            seen.append(torch.is_grad_enabled())

    list(round_robin({str(each): partial(train, has_gradients=each) for each in (True, False)}))
    assert seen == [True, False]


def test_products_take_the_cores_that_the_process_was_given() -> None:
    program = """
import os, torch
from raykd.train.turns import round_robin

def new_threads(pause):
    before = len(os.listdir("/proc/self/task"))
    matrix @ matrix
    return len(os.listdir("/proc/self/task")) - before

torch.set_num_threads(1)
matrix = torch.ones(1500, 1500)
print(dict(round_robin({"only": new_threads})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.split() == [b"{'only':", b"0}"]


def test_runs_go_by_turns_in_their_order_until_each_has_ended() -> None:
    seen: list[str] = []

    def train(name: str, pause: Pause, *, number: int) -> None:
        for _ in range(number):
            seen.append(name)
            pause()

    runs = {
        "first": partial(train, "first", number=1),
        "second": partial(train, "second", number=3),
        "third": partial(train, "third", number=2),
    }
    assert [name for name, _ in round_robin(runs)] == ["first", "third", "second"]
    assert seen == ["first", "second", "third", "second", "third", "second"]


def test_what_a_run_raises_is_raised_to_whoever_gives_the_turns() -> None:
    def train(pause: Pause) -> None:
        pause()
        raise DivergedError

    with pytest.raises(DivergedError):
        list(round_robin({"only": train}))
