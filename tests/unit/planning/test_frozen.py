"""A run whose student is frozen in part needs less, and says what cannot be frozen."""

from pathlib import Path
from typing import Any

import pytest
from raykd.distill.assemble import assemble
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.models.load import save_model
from raykd.planning.memory import checkpoint_bytes
from raykd.planning.run_plan import Plan, plan_run
from raykd.runs.checkpoint import trained_parameters

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model

LAYERS = 4
STUDENT = TINY_BERT | {"num_layers": LAYERS}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def plan(directory: Path, *freeze: str, model_type: str = "bert", **changes: Any) -> Plan:
    student = {"architecture": STUDENT | {"model_type": model_type}, "freeze": list(freeze)}
    return plan_run(small_run(directory, student=student, **changes))


@pytest.mark.parametrize("task", ["masked_lm", "sequence_classification"])
@pytest.mark.parametrize(
    "freeze", [(), ("embeddings", "layers below 3"), ("encoder",), ("head",)], ids=", ".join
)
def test_planned_parameters_are_those_that_are_trained(
    directory: Path, task: str, freeze: tuple[str, ...]
) -> None:
    planned = plan(directory, *freeze, task=task).student
    assert planned is not None
    student = {"architecture": STUDENT, "freeze": list(freeze)}
    run = assemble(read_setup(small_run(directory, student=student, task=task)), world=World())
    assert planned.num_trained == sum(p.numel() for _, p in trained_parameters(run.state))
    assert planned.parameters.total == sum(p.numel() for p in run.student.parameters())
    text = f"; {planned.num_trained:,} trained, {planned.num_frozen:,} frozen)"
    assert str(planned).endswith(text) == bool(freeze)


def test_what_is_frozen_has_no_gradient_no_moments_and_keeps_no_activations(
    directory: Path,
) -> None:
    def needed(*freeze: str) -> tuple[int, int, int]:
        found = plan(directory, *freeze)
        assert found.student is not None
        assert found.memory_bytes is not None
        return found.memory_bytes, checkpoint_bytes(found.student), found.student.num_frozen

    whole, whole_checkpoint, none = needed()
    assert none == 0
    head, head_checkpoint, count = needed("head")
    assert whole_checkpoint - head_checkpoint == 8 * count
    # Gradient and moments; and moments again in a checkpoint that is being written.
    assert whole - head == (12 + 8) * count
    kept = []
    for freeze in (
        ("embeddings",),
        ("embeddings", "layers below 1"),
        ("embeddings", "layers below 2"),
    ):
        memory, checkpoint, count = needed(*freeze)
        assert whole_checkpoint - checkpoint == 8 * count
        kept.append(whole - memory - (12 + 8) * count)
    assert kept[0] == 0
    assert kept[2] == 2 * kept[1] > 0


def test_a_layer_of_a_shared_student_that_is_frozen_is_shared_too(directory: Path) -> None:
    cluster = {"num_workers": 2, "shard_student": True}
    whole, frozen = (plan(directory, *names, cluster=cluster) for names in ((), ("encoder",)))
    assert frozen.problems == ()
    assert whole.memory_bytes is not None
    assert frozen.memory_bytes is not None
    assert frozen.memory_bytes < whole.memory_bytes


@pytest.mark.parametrize(
    ("freeze", "changes", "problem"),
    [
        (
            ["embeddings", "layers below 5"],
            {},
            "student.freeze: 'layers below 5' is no part of the student for masked_lm; it has "
            "embeddings, encoder, layers below 1 to 4, and a head unless that is the embeddings "
            "again",
        ),
        (
            ["head"],
            {"model_type": "gpt2", "task": "causal_lm"},
            "student.freeze: 'head' is no part of the student for causal_lm; it has embeddings, "
            "encoder, layers below 1 to 4, and a head unless that is the embeddings again",
        ),
        (
            ["encoder"],
            {"model_type": "gpt2", "task": "causal_lm"},
            "student.freeze: ['encoder'] is all of the student: nothing would be trained",
        ),
    ],
)
def test_what_cannot_be_frozen_is_told(
    directory: Path, freeze: list[str], changes: dict[str, Any], problem: str
) -> None:
    assert plan(directory, *freeze, **changes).problems == (problem,)


@pytest.mark.parametrize("freeze", [["encoder"], ["embeddings", "layers below 4"]], ids=", ".join)
def test_layers_that_are_all_frozen_are_not_compared(directory: Path, freeze: list[str]) -> None:
    save_model(tiny_model("bert", "masked_lm", num_layers=4), directory / "teacher")
    changes: dict[str, Any] = {
        "teachers": {"big": {"model": str(directory / "teacher")}},
        "losses": {"cross_entropy": {}, "hidden_states": {}},
    }
    assert plan(directory, *freeze, **changes).problems == (
        f"losses.hidden_states compares layers that student.freeze={freeze} keeps as they are: "
        "it would train nothing; leave one of the two out",
    )
    assert plan(directory, "embeddings", "layers below 3", **changes).problems == ()
