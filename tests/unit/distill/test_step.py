"""The objective of a step: teachers by their weights, layers by token, nothing for nobody.

Beside the dimension key of raykd.batch, N is teachers.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.batch import Batch, LayersWanted, ModelOutputs, idle_batch
from raykd.config.schema.run import RunConfig, TaskName
from raykd.config.schema.train import OptimizerConfig
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.step import StepCounts
from raykd.distill.world import World
from raykd.losses.softened import Logits
from raykd.models.load import save_model
from raykd.teachers.cache.sparse import SparseScores, sparse_forward_kl
from raykd.teachers.controls import PermutedTeacher
from raykd.teachers.live import LiveTeacher
from torch.nn import functional as F

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model

CLASSES: TaskName = "sequence_classification"
COUNTS = StepCounts(positions=7.0, tokens=40.0)
LAYER_LOSSES: dict[str, dict[str, Any]] = {
    "hidden_states": {"teacher": "a", "weight": "2"},
    "attention_scores": {"teacher": "a", "pattern": "last"},
    "attention_relations": {"teacher": "a", "num_heads": 2},
}
FOUR_HEADS = {"architecture": TINY_BERT | {"num_heads": 4}}
STAGES = {
    "forward_kl": {"weight": "0 @ 0.5 -> 1 @ 0.5"},
    "hidden_states": {"weight": "1 @ 0.5 -> 0 @ 0.5"},
    "attention_scores": {"weight": "1 @ 0.5 -> 0 @ 0.5"},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with data, and teachers a and b for two tasks, wider than the student."""
    path = tmp_path_factory.mktemp("step")
    small_data(path / "data")
    for task in (CLASSES, "masked_lm"):
        for seed, name in enumerate(("a", "b")):
            save_model(tiny_model("bert", task, num_layers=4, seed=seed), path / f"{name}-{task}")
    return path


def run_of(directory: Path, *, task: TaskName = CLASSES, **changes: Any) -> RunConfig:
    """Return a run with the teachers a and b, or with those that are named."""
    names = changes.pop("names", ("a", "b"))
    teachers = {name: {"model": str(directory / f"{name}-{task}")} for name in names}
    for name, languages in changes.pop("languages", {}).items():
        teachers[name]["languages"] = languages
    return small_run(directory, task=task, teachers=teachers, **changes)


def in_double(run: Distillation) -> Distillation:
    """Bring a run and its teachers to float64."""
    run.objective.double()
    for teacher in run.objective.ensemble.teachers.values() if run.objective.ensemble else ():
        asked = teacher.teacher if isinstance(teacher, PermutedTeacher) else teacher
        if isinstance(asked, LiveTeacher):
            asked.model.double()
    return run


def first_batch(run: Distillation) -> Batch:
    """Return the rows of the first step as one batch."""
    (batch,) = next(run.steps()).micro_batches
    return batch


def gradients(run: Distillation) -> Iterator[tuple[str, torch.Tensor]]:
    for name, parameter in run.objective.named_parameters():
        assert parameter.grad is not None, name
        yield name, parameter.grad


def test_several_teachers_count_by_their_weights_at_the_positions_they_serve(
    directory: Path,
) -> None:
    config = run_of(
        directory,
        languages={"b": ["de"]},
        teacher_weights={"fixed": {"weights": {"a": 1, "b": 3}}},
        losses={
            "cross_entropy": {"weight": "0.5"},
            "forward_kl": {"weight": "2", "temperature": "2"},
            "logit_mse": {},
        },
        train__micro_batch_size=8,
    )
    run = in_double(assemble(read_setup(config), world=World()))
    batch = first_batch(run)
    assert set(batch.languages_B.tolist()) == {0, 1}
    with torch.no_grad():
        output = run.objective(batch, 0.0, COUNTS)
        student_PK = run.student(batch).logits_PK
        assert run.objective.ensemble is not None
        teachers_NPK = [
            teacher(batch, LayersWanted()).logits_PK
            for teacher in run.objective.ensemble.teachers.values()
        ]
    is_german_P = (batch.languages_B == 0).double()
    weights_NP = [1 - 0.75 * is_german_P, 0.75 * is_german_P]
    hard = F.cross_entropy(student_PK, batch.labels_P, reduction="sum")
    kl = mse = torch.zeros((), dtype=torch.float64)
    for weights_P, teacher_PK in zip(weights_NP, teachers_NPK, strict=True):
        kl_PK = F.kl_div(
            (student_PK / 2).log_softmax(-1), (teacher_PK / 2).softmax(-1), reduction="none"
        )
        kl = kl + (weights_P * 4 * kl_PK.sum(-1)).sum()
        mse = mse + (weights_P * (student_PK - teacher_PK).square().mean(-1)).sum()
    expected = torch.stack([hard, kl, mse]) / COUNTS.positions
    torch.testing.assert_close(torch.stack([*output.terms.values()]), expected, rtol=1e-12, atol=0)
    total = (expected * expected.new_tensor([0.5, 2.0, 1.0])).sum()
    torch.testing.assert_close(output.loss, total, rtol=1e-12, atol=0)


def test_layers_are_averaged_over_tokens_and_logits_over_positions(directory: Path) -> None:
    config = run_of(
        directory,
        names=("a",),
        task="masked_lm",
        student={"architecture": TINY_BERT | {"hidden_size": 32}},
        losses={"cross_entropy": {}, "hidden_states": {"layers": [3, 0], "embeddings": False}},
        train__micro_batch_size=8,
    )
    run = in_double(assemble(read_setup(config), world=World()))
    batch = first_batch(run)
    with torch.no_grad():
        output = run.objective(batch, 0.0, COUNTS)
        assert run.objective.ensemble is not None
        teacher = run.objective.ensemble.teachers["a"]
        assert isinstance(teacher, LiveTeacher)
        inputs = {"input_ids": batch.input_ids_BL, "attention_mask": batch.attention_mask_BL}
        mine, theirs = (
            model(**inputs, output_hidden_states=True)
            for model in (run.student.model, teacher.model.model)
        )
    hard = F.cross_entropy(
        mine.logits.flatten(0, 1)[batch.positions_P][:, :64], batch.labels_P, reduction="sum"
    )
    squares_BL = sum(
        (mine.hidden_states[i] - theirs.hidden_states[j]).square().mean(-1)
        for i, j in ((1, 4), (2, 1))
    )
    layers = squares_BL[batch.is_token_BL].sum()
    expected = torch.stack([hard / COUNTS.positions, layers / COUNTS.tokens])
    torch.testing.assert_close(torch.stack([*output.terms.values()]), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(output.loss, expected.sum(), rtol=1e-12, atol=0)


def step_gradient(config: RunConfig) -> dict[str, torch.Tensor]:
    """Return the gradient of the first step, read off the weights that SGD moves by it."""
    run = in_double(assemble(read_setup(config), world=World()))
    run.state.optimizer = torch.optim.SGD(run.objective.parameters(), lr=1.0)
    before = {name: p.detach().clone() for name, p in run.objective.named_parameters()}
    options = dataclasses.replace(
        run.loop_options,
        optimizer=OptimizerConfig(learning_rate=1.0, warmup_fraction=0, max_grad_norm=1e9),
    )
    next(training_steps(run.state, run.objective, run.steps(), options=options, world=run.world))
    return {name: before[name] - p.detach() for name, p in run.objective.named_parameters()}


CASES: dict[str, dict[str, Any]] = {
    "importance": {
        "teacher_weights": {"importance": {}},
        "losses": {"cross_entropy": {}, "forward_kl": {}},
    },
    "languages": {
        "languages": {"a": ["de"], "b": ["en"]},
        "losses": {"forward_kl": {}, "jensen_shannon": {"temperature": "2"}},
    },
    "per_language": {
        "languages": {"b": ["en"]},
        "student__projections": "per_language",
        "losses": {"cross_entropy": {}, "taid": {}},
    },
    "layers": {"student": FOUR_HEADS, "losses": {"cross_entropy": {}, **LAYER_LOSSES}},
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_does_not_depend_on_the_micro_batches(directory: Path, case: str) -> None:
    def of_size(size: int) -> dict[str, torch.Tensor]:
        config = run_of(directory, **{**CASES[case], "train__micro_batch_size": size})
        return step_gradient(config)

    whole = of_size(8)
    # A softmax does not see what the bias of the keys adds.
    assert all(found.abs().max() > 1e-9 for name, found in whole.items() if "key" not in name)
    for size in (1, 3):
        torch.testing.assert_close(of_size(size), whole, atol=1e-12, rtol=1e-12)


def test_two_stages_follow_their_schedules(directory: Path) -> None:
    config = run_of(
        directory,
        names=("a",),
        student=FOUR_HEADS,
        losses=STAGES,
        train__num_steps=4,
        train__micro_batch_size=8,
    )
    run = assemble(read_setup(config), world=World())
    before = {name: p.detach().clone() for name, p in run.objective.projections.named_parameters()}
    assert set(before) == {"hidden_states.embeddings.weight", "hidden_states.layers.weight"}
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    names = [list(step.terms) for step in itertools.islice(steps, 4)]
    first = ["hidden_states", "attention_scores"]
    assert names == [first, first, ["forward_kl"], ["forward_kl"]]
    for name, parameter in run.objective.projections.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize(("progress", "is_resting"), [(0.0, "classifier"), (1.0, "projections")])
def test_what_rests_in_a_stage_has_a_gradient_of_zeros(
    directory: Path, progress: float, is_resting: str
) -> None:
    config = run_of(
        directory, names=("a",), student=FOUR_HEADS, losses=STAGES, train__micro_batch_size=8
    )
    run = assemble(read_setup(config), world=World())
    run.objective(first_batch(run), progress, COUNTS).loss.backward()
    rests = {name: not gradient.any() for name, gradient in gradients(run)}
    resting = {name for name, is_zero in rests.items() if is_zero and is_resting in name}
    assert resting == {name for name in rests if is_resting in name}
    assert not all(rests.values())


@pytest.mark.parametrize("case", [*CASES, "every divergence"])
def test_no_rows_give_zeros_to_every_parameter(directory: Path, case: str) -> None:
    divergences = ["reverse_kl", "skewed_kl", "total_variation", "logit_mse", "taid"]
    changes = CASES.get(case, {"losses": {name: {} for name in divergences}})
    run = assemble(read_setup(run_of(directory, **changes)), world=World())
    output = run.objective(idle_batch(pad_id=0), 0.0, StepCounts(positions=1.0, tokens=1.0))
    output.loss.backward()
    assert output.loss == 0
    assert {name: float(term) for name, term in output.terms.items()} == dict.fromkeys(
        changes["losses"], 0.0
    )
    assert not any(gradient.any() for _, gradient in gradients(run))


def test_a_control_asks_no_teacher(directory: Path) -> None:
    losses: dict[str, dict[str, Any]] = {"cross_entropy": {}, "forward_kl": {"weight": "0"}}
    losses |= {name: section | {"weight": "0"} for name, section in LAYER_LOSSES.items()}
    config = run_of(directory, student=FOUR_HEADS, losses=losses, train__micro_batch_size=8)
    run = assemble(read_setup(config), world=World())
    assert run.objective.ensemble is not None
    asked: list[str] = []

    def refusing(batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        asked.append(f"{batch} {wanted}")
        raise AssertionError

    run.objective.ensemble.teachers |= dict.fromkeys("ab", refusing)
    output = run.objective(first_batch(run), 0.5, COUNTS)
    config = small_run(directory, task=CLASSES, student=FOUR_HEADS, train__micro_batch_size=8)
    alone = assemble(read_setup(config), world=World())
    assert torch.equal(output.loss, alone.objective(first_batch(alone), 0.5, COUNTS).loss)
    assert not asked


def test_a_teacher_of_some_classes_is_followed_to_their_bucket(directory: Path) -> None:
    """Chunk by chunk as over all positions, and not as if the rest were spread evenly."""
    losses = {"cross_entropy": {}, "forward_kl": {"weight": "2"}}
    config = run_of(
        directory, task="masked_lm", names=("a",), losses=losses, train__micro_batch_size=8
    )
    run = assemble(read_setup(config), world=World())
    batch, ensemble = first_batch(run), run.objective.ensemble
    assert ensemble is not None
    live = ensemble.teachers["a"]
    log_probs_PS, ids_PS = live(batch, LayersWanted()).logits_PK.log_softmax(-1).topk(4)
    sparse = SparseScores(
        ids_PS=ids_PS,
        log_probs_PS=log_probs_PS,
        log_tail_P=(-log_probs_PS.logsumexp(-1).expm1()).log(),
        num_classes=run.student.num_classes,
    )
    ensemble.teachers["a"] = lambda batch, _: ModelOutputs(
        hidden_PD=torch.zeros(len(batch.positions_P), 0), scores=sparse
    )
    run.objective.eval()
    with torch.no_grad():
        output = run.objective(batch, 0.0, COUNTS)
        logits_PK = run.student(batch).logits_PK
    expected = sparse_forward_kl(Logits(logits_PK), sparse).values_P.sum() / COUNTS.positions
    torch.testing.assert_close(output.terms["forward_kl"], expected)
