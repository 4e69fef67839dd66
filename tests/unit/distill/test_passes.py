"""However models run forward, a run computes the same."""

import contextlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.config.schema.train import TrainConfig
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import FinishedStep, backward, step_counts, training_steps
from raykd.distill.passes import prepare_passes, require_compiler
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ConfigError
from raykd.models.families import FAMILIES
from raykd.models.load import save_model

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import padded_batch, scored, tiny_model

CPU = torch.device("cpu")
TASK: TaskName = "sequence_classification"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("passes")
    small_data(path / "data")
    save_model(tiny_model("bert", TASK, num_layers=4), path / "teacher")
    return path


def assembled(directory: Path, **changes: Any) -> Distillation:
    """Return a run with a teacher and every kind of loss."""
    config = small_run(
        directory,
        task=TASK,
        teachers={"t": {"model": str(directory / "teacher")}},
        losses={
            "cross_entropy": {},
            "forward_kl": {},
            "hidden_states": {},
            "attention_relations": {},
        },
        **changes,
    )
    return assemble(read_setup(config), world=World())


def steps(run: Distillation, count: int) -> list[FinishedStep]:
    taken = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    return list(itertools.islice(taken, count))


def weights(run: Distillation) -> dict[str, torch.Tensor]:
    return dict(run.objective.state_dict())


@contextmanager
def kept_for_backward() -> Iterator[list[int]]:
    """Yield a list that is given the size of every tensor that autograd keeps."""
    sizes: list[int] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


@pytest.mark.parametrize("projections", ["shared", "per_language"])
def test_layers_computed_again_give_the_same_bits(directory: Path, projections: str) -> None:
    student = {"architecture": TINY_BERT | {"dropout": 0.2}, "projections": projections}
    plain, again = (
        assembled(directory, student=student, train__activation_checkpointing=on)
        for on in (False, True)
    )
    assert steps(again, 3) == steps(plain, 3)
    expected = weights(plain)
    assert weights(again).keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(again).items())


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_computed_again_keep_less(family: str) -> None:
    batch = padded_batch(TASK, summary=FAMILIES[family].summary)
    kept = []
    for again in (False, True):
        model = scored(tiny_model(family, TASK), TASK).train()
        config = TrainConfig(num_steps=1, activation_checkpointing=again)
        prepare_passes(config, student=model, teachers=(), device=CPU)
        with kept_for_backward() as sizes:
            model(batch)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


def test_the_gelu_of_gpt2_is_one_operator_with_the_same_values() -> None:
    batch = padded_batch(TASK, summary="last")
    plain, fused = (scored(tiny_model("gpt2", TASK), TASK).double().eval() for _ in range(2))
    prepare_passes(TrainConfig(num_steps=1), student=fused, teachers=(fused,), device=CPU)
    kept, results = [], []
    for model in (plain, fused):
        with kept_for_backward() as sizes:
            outputs = model(batch).logits_PK
        outputs.square().sum().backward()
        kept.append(len(sizes))
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        results.append((outputs, *gradients))
    assert kept[1] < kept[0]
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-12)


def test_no_compiler_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"^train\.compile: torch\.compile needs a C\+\+ comp"):
        require_compiler(CPU)


@pytest.mark.slow
@pytest.mark.timeout(900)
# torch's compiler about torch's scripts, and about what it looks at itself.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_run_follows_the_plain_one(directory: Path) -> None:
    plain, compiled = (assembled(directory, train__compile=on) for on in (False, True))
    for mine, theirs in zip(steps(compiled, 2), steps(plain, 2), strict=True):
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-4)
        assert mine.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-4)
    assert weights(compiled).keys() == weights(plain).keys()


@pytest.mark.parametrize("again", [False, True])
def test_weights_are_converted_once_a_step(directory: Path, again: bool) -> None:
    run = assembled(directory, train__precision="bfloat16", train__activation_checkpointing=again)
    shape = [TINY_BERT["intermediate_size"], TINY_BERT["hidden_size"]]
    with torch.profiler.profile(record_shapes=True) as recorded:
        steps(run, 1)
    conversions = [
        event
        for event in recorded.events() or []
        if event.name == "aten::_to_copy" and event.input_shapes[0] == shape
    ]
    # Of each layer: the weight once, and its gradient in each of the 3 micro-batches.
    assert len(conversions) == len(run.student.layers) * (1 + 3)


def test_weights_converted_once_have_the_same_gradient(directory: Path) -> None:
    run = assembled(directory, train__precision="bfloat16")
    batches = next(run.steps())
    found = []
    for outer in (contextlib.nullcontext(), torch.autocast("cpu", enabled=False)):
        run.objective.zero_grad(set_to_none=True)
        with outer:
            backward(
                run.objective,
                batches,
                step_counts(*batches.counted),
                step=0,
                options=run.loop_options,
                world=run.world,
            )
        found.append([p.grad for p in run.objective.parameters() if p.grad is not None])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert any(gradient.any() for gradient in found[0])
