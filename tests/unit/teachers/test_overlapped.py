"""Teachers that run beside the student say what they say when they are asked in their turn."""

import itertools
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.config.schema.train import ClusterConfig
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import FinishedStep, training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ConfigError
from raykd.models.load import save_model
from raykd.teachers.live import Teacher

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model

STUDENT = {"architecture": TINY_BERT | {"num_heads": 4, "dropout": 0.3}}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("overlapped")
    small_data(path / "data")
    for seed, name in enumerate("ab"):
        save_model(tiny_model("bert", "masked_lm", num_layers=4, seed=seed), path / name)
    return path


class Watched:
    """A teacher that notes in which threads it is asked about which rows."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        self.asked: list[tuple[bool, tuple[int, ...]]] = []

    def __call__(self, batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        is_beside = threading.current_thread() is not threading.main_thread()
        self.asked.append((is_beside, tuple(batch.row_ids_B.tolist())))
        return self._teacher(batch, wanted)


def assembled(directory: Path, *, overlaps: bool, **changes: Any) -> Distillation:
    config = small_run(
        directory,
        **{
            "teachers": {
                "a": {"model": str(directory / "a")},
                "b": {"model": str(directory / "b"), "languages": ["en"]},
            },
            "student": STUDENT,
            "losses": {
                "cross_entropy": {},
                "forward_kl": {"temperature": "2"},
                "hidden_states": {"teacher": "a"},
                "attention_relations": {"teacher": "a"},
            },
            "train__num_steps": 5,
            "train__micro_batch_size": 3,
            "cluster__overlap_teacher": overlaps,
        }
        | changes,
    )
    return assemble(read_setup(config), world=World())


def steps_of(run: Distillation, count: int = 5) -> list[FinishedStep]:
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    return list(itertools.islice(steps, count))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"teacher_weights": {"importance": {"temperature": 0.2}}},
        {"train__micro_batch_size": 8},
        # The teachers are asked from step 2 on, to the last but one.
        {"losses": {"cross_entropy": {}, "forward_kl": {"weight": "0 @ 0.3 -> 1 @ 0.7"}}},
    ],
    ids=["shares", "importance", "one micro-batch", "by schedule"],
)
def test_steps_are_the_same_bit_by_bit(directory: Path, changes: dict[str, Any]) -> None:
    alone = assembled(directory, overlaps=False, **changes)
    beside = assembled(directory, overlaps=True, **changes)
    assert steps_of(beside) == steps_of(alone)
    # As of a run that is stopped and resumed: nothing that was asked ahead is left over.
    alone, again = (assembled(directory, overlaps=o, **changes) for o in (False, True))
    assert steps_of(again, 2) + steps_of(again) == steps_of(alone)


def test_every_batch_is_asked_about_once_beside_the_student(directory: Path) -> None:
    run = assembled(directory, overlaps=True)
    assert run.objective.ensemble is not None
    teachers = run.objective.ensemble.teachers
    teachers["a"] = watched = Watched(teachers["a"])
    steps_of(run)
    run.evaluate()
    # 8 rows of a step in 3 micro-batches.
    threads = [is_beside for is_beside, _ in watched.asked]
    assert threads[:15] == [True] * 15
    assert not any(threads[15:])
    rows = [
        sorted(itertools.chain(*(rows for _, rows in watched.asked[i : i + 3]))) for i in (0, 3)
    ]
    alone = assembled(directory, overlaps=False)
    assert rows == [
        sorted(itertools.chain(*(b.row_ids_B.tolist() for b in step.micro_batches)))
        for step in itertools.islice(alone.steps(), 2)
    ]


def test_a_mixture_that_changes_drops_what_was_asked_ahead(directory: Path) -> None:
    losses: dict[bool, list[FinishedStep]] = {}
    for overlaps in (False, True):
        run = assembled(directory, overlaps=overlaps, data__mixing={"adaptive": {}})
        steps = run.steps()
        taken = training_steps(
            run.state, run.objective, steps, options=run.loop_options, world=run.world
        )
        losses[overlaps] = []
        for finished in taken:
            losses[overlaps].append(finished)
            if finished.step == 2:
                before = run.state.data
                run.adapt(run.evaluate())
                assert run.state.data != before
                steps.restart()
    assert losses[True] == losses[False]


def test_what_a_teacher_raises_reaches_the_step_that_needs_it(directory: Path) -> None:
    run = assembled(directory, overlaps=True)
    assert run.objective.ensemble is not None
    teacher = run.objective.ensemble.teachers["a"]
    num_asked = itertools.count(1)

    def failing(batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        # The first micro-batch of the second step.
        if next(num_asked) == 4:
            message = "the teacher has gone home"
            raise RuntimeError(message)
        return teacher(batch, wanted)

    run.objective.ensemble.teachers["a"] = failing
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    assert next(steps).step == 1
    with pytest.raises(RuntimeError, match="gone home"):
        next(steps)
    assert run.state.step == 1


def test_a_run_that_only_reads_its_teachers_overlaps_nothing(directory: Path) -> None:
    teachers: dict[str, Any] = {"none": {"unigram": {}}}
    losses: dict[str, Any] = {"cross_entropy": {}, "forward_kl": {}}
    run = assembled(directory, overlaps=True, teachers=teachers, losses=losses)
    assert run.objective.overlapped is None


def test_compiled_models_whose_layers_are_compared_take_turns(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"overlap_teacher and train\.compile .*hidden_states"):
        assembled(directory, overlaps=True, train__compile=True)


def test_workers_need_a_core_for_each_side() -> None:
    narrow = ClusterConfig(overlap_teacher=True)
    (problem,) = narrow.problems()
    assert "cluster.overlap_teacher needs cluster.cpus_per_worker >= 2" in problem
    wide = replace(narrow, cpus_per_worker=2.0)
    on_gpu = replace(narrow, gpus_per_worker=1.0)
    here = replace(narrow, num_workers=0)
    assert [cluster.problems() for cluster in (wide, on_gpu, here)] == [[], [], []]
