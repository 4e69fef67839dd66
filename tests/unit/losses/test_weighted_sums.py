"""Sums made chunk by chunk are those of scores that are all there: values and gradients."""

import copy
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from raykd.batch import ModelOutputs, idle_batch
from raykd.config.schema.losses import (
    CrossEntropyConfig,
    ForwardKLConfig,
    JensenShannonConfig,
    LogitMSEConfig,
    LossesConfig,
    ReverseKLConfig,
    SkewedKLConfig,
    TAIDConfig,
    TotalVariationConfig,
)
from raykd.losses.terms import build_terms
from raykd.losses.weighted_sums import Sums, weighted_sums
from raykd.models.families import FAMILIES
from raykd.scores import DenseScores, ProjectedScores, Scores
from raykd.tasks.tally import predictions
from raykd.teachers.ensemble import TeacherSignal
from raykd.teachers.on_positions import OnPositions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.tiny_models import padded_batch, scored, tiny_model
from tests.unit.losses import reference

VOCABULARIES = [
    (family, task)
    for family in FAMILIES
    for task in FAMILIES[family].heads
    if task.endswith("_lm")
]
LOSSES = LossesConfig(
    cross_entropy=CrossEntropyConfig(label_smoothing=0.1),
    forward_kl=ForwardKLConfig(temperature="2"),
    reverse_kl=ReverseKLConfig(),
    jensen_shannon=JensenShannonConfig(temperature="0.5"),
    skewed_kl=SkewedKLConfig(),
    total_variation=TotalVariationConfig(),
    logit_mse=LogitMSEConfig(),
    taid=TAIDConfig(),
)
WEIGHTS = [0.5, 2.0, 0.7, 1.1, 1.3, 0.9, 0.2, 0.4]
P, D, K = 23, 8, 301


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("raykd.scores", "raykd.losses.weighted_sums"):
        monkeypatch.setattr(f"{module}._LEAST_ROWS", 3)
        monkeypatch.setattr(f"{module}._CHUNK_BYTES", 1)
    monkeypatch.setattr("raykd.losses.weighted_sums._BLOCK_BYTES", 8 * K)


def sums_against(teacher: Scores, labels_P: torch.Tensor, losses: LossesConfig = LOSSES) -> Sums:
    """Return the sums of all terms against one teacher and labels."""
    signal = TeacherSignal(
        name="t",
        outputs=ModelOutputs(hidden_PD=torch.zeros(0, 0), scores=teacher),
        batch=idle_batch(pad_id=0),
        positions_Q=None,
        weights_Q=None,
    )
    terms = build_terms(losses)
    return OnPositions(terms=terms, signals=[signal], labels_P=labels_P, progress=0.3).sums


def reference_sums(
    logits_PK: torch.Tensor,
    teacher_PK: torch.Tensor,
    labels_P: torch.Tensor,
    losses: LossesConfig = LOSSES,
) -> torch.Tensor:
    """Return the same sums as autograd differentiates them, over scores that are all there."""
    values = [
        getattr(reference, term.name)(
            logits_PK, teacher_PK if term.needs_teacher else labels_P, **term.settings_at(0.3)
        )
        for term in build_terms(losses)
    ]
    return torch.stack([values_P.sum() for values_P in values])


def projected(dtype: torch.dtype, *, seed: int = 0, **changes: Any) -> ProjectedScores:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    scores = ProjectedScores(
        features_PD=drawn(P, D).requires_grad_(),
        weight_KD=drawn(K, D).requires_grad_(),
        bias_K=drawn(K).requires_grad_(),
    )
    return replace(scores, **changes)


def inputs_of(scores: ProjectedScores) -> list[torch.Tensor]:
    found = [scores.features_PD, scores.weight_KD, scores.bias_K]
    return [tensor for tensor in found if tensor is not None]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str
)
@pytest.mark.parametrize(
    "changes",
    [{}, {"bias_K": None}, {"scale": 0.25}, {"softcap": 3.0}, {"scale": 2.0, "softcap": 5.0}],
    ids=str,
)
def test_chunks_add_up_to_the_whole(
    dtype: torch.dtype, tolerance: float, changes: dict[str, Any]
) -> None:
    labels_P = torch.arange(P) % K
    teacher_PK = projected(dtype, seed=1, **changes).logits().detach()
    sums = sums_against(DenseScores(logits_PK=teacher_PK), labels_P)
    in_chunks, whole = projected(dtype, **changes), projected(dtype, **changes)
    loss, sums_M = weighted_sums(in_chunks, sums, WEIGHTS)
    (3 * loss).backward()
    expected_M = reference_sums(whole.logits(), teacher_PK, labels_P)
    expected = (expected_M * expected_M.new_tensor(WEIGHTS)).sum()
    (3 * expected).backward()
    torch.testing.assert_close(loss, expected, atol=0, rtol=tolerance)
    torch.testing.assert_close(sums_M, expected_M, atol=0, rtol=tolerance)
    for mine, theirs in zip(inputs_of(in_chunks), inputs_of(whole), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad, theirs.grad, atol=tolerance * scale, rtol=0)


@pytest.mark.parametrize("of_whom", [(0, 1), (0,), (1,)], ids=["both", "student", "teacher"])
def test_words_that_are_ruled_out_leave_every_gradient_finite(of_whom: tuple[int, ...]) -> None:
    """Only the chunks of the positions that they are ruled out at need masks."""
    models = []
    for seed in (0, 1):
        logits_PK = projected(torch.float64, seed=seed).logits().detach()
        if seed in of_whom:
            logits_PK[7:9, 5:9] = -torch.inf
        models.append(logits_PK)
    found_PK, expected_PK = models[0].clone(), models[0].clone()
    names = [name for name in LOSSES.present if name != "logit_mse"]
    losses = replace(LOSSES, logit_mse=None, cross_entropy=CrossEntropyConfig())
    sums = sums_against(DenseScores(logits_PK=models[1]), torch.arange(P) % 3, losses=losses)
    weights = [1.0] * len(names)
    loss, sums_M = weighted_sums(DenseScores(logits_PK=found_PK.requires_grad_()), sums, weights)
    loss.backward()
    expected_M = reference_sums(
        expected_PK.requires_grad_(), models[1], torch.arange(P) % 3, losses=losses
    )
    expected_M.sum().backward()
    torch.testing.assert_close(sums_M, expected_M.detach(), atol=1e-10, rtol=1e-10)
    assert found_PK.grad is not None
    assert found_PK.grad.isfinite().all()
    torch.testing.assert_close(found_PK.grad, expected_PK.grad, atol=1e-10, rtol=1e-10)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that an operation returns while the block runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]
        self.elements = max(self.elements, *sizes, 0)
        return found


def test_no_tensor_has_the_scores_of_all_positions() -> None:
    """Neither to learn nor to evaluate; the plain way shows that one would be seen."""
    labels_P = torch.arange(P) % K
    teacher, student = projected(torch.float32, seed=1), projected(torch.float32)
    sums = sums_against(teacher, labels_P)

    with Largest() as in_chunks:
        weighted_sums(student, sums, WEIGHTS)[0].backward()
        predictions(student, labels_P)
    with Largest() as whole:
        weighted_sums(DenseScores(logits_PK=student.logits()), sums, WEIGHTS)[0].backward()
    # The largest is the gradient of the map.
    assert in_chunks.elements == K * D < P * K <= whole.elements


@pytest.mark.parametrize(("model_type", "task"), VOCABULARIES)
@pytest.mark.parametrize("num_classes", [67, 60], ids=["whole", "padded"])
def test_every_family_learns_as_from_its_whole_scores(
    model_type: str, task: Any, num_classes: int
) -> None:
    """Tied weights too: they get the gradient of the head and of the embeddings."""
    batch = padded_batch(task)
    student = tiny_model(model_type, task).double()
    teacher = scored(tiny_model(model_type, task, seed=1).double(), task)
    sums = sums_against(
        DenseScores(logits_PK=teacher(batch).logits_PK.detach()[:, :num_classes]), batch.labels_P
    )
    gradients = []
    for is_whole in (True, False):
        model = copy.deepcopy(student)
        scores = scored(model, task)(batch).scores.first(num_classes)
        assert isinstance(scores, ProjectedScores)
        if is_whole:
            scores = DenseScores(logits_PK=scores.logits())
        loss, _ = weighted_sums(scores, sums, WEIGHTS)
        loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    expected, found = gradients
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-10, rtol=1e-10, msg=name)


def test_autocast_multiplies_in_its_type_and_adds_in_float32() -> None:
    labels_P = torch.arange(P) % K
    teacher_PK = projected(torch.float32, seed=1).logits().detach()
    sums = sums_against(DenseScores(logits_PK=teacher_PK), labels_P)
    rounded = replace(projected(torch.float32), dtype=torch.bfloat16)
    exact = projected(torch.float32)
    for scores in (rounded, exact):
        loss, _ = weighted_sums(scores, sums, WEIGHTS)
        loss.backward()
    assert rounded.logits().dtype == torch.bfloat16
    for mine, theirs in zip(inputs_of(rounded), inputs_of(exact), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert mine.grad.dtype == torch.float32
        difference = (mine.grad - theirs.grad).norm() / theirs.grad.norm()
        assert 0 < difference < 0.05


def test_no_position_has_a_gradient_of_zeros() -> None:
    scores = replace(projected(torch.float32), features_PD=torch.zeros(0, D, requires_grad=True))
    sums = sums_against(
        DenseScores(logits_PK=torch.zeros(0, K)), torch.zeros(0, dtype=torch.int64)
    )
    loss, sums_M = weighted_sums(scores, sums, WEIGHTS)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not sums_M.any()
    assert all(t.grad is not None and not t.grad.any() for t in inputs_of(scores))


def test_what_is_frozen_has_no_gradient() -> None:
    scores = projected(torch.float32)
    scores.weight_KD.requires_grad = False
    teacher_PK = projected(torch.float32, seed=1).logits().detach()
    sums = sums_against(DenseScores(logits_PK=teacher_PK), torch.zeros(P, dtype=torch.int64))
    loss, _ = weighted_sums(scores, sums, WEIGHTS)
    loss.backward()
    assert scores.weight_KD.grad is None
    assert scores.features_PD.grad is not None


def test_one_chunk_of_scores_is_in_memory_at_a_time() -> None:
    alive: list[weakref.ref[torch.UntypedStorage]] = []

    def sums(logits_CK: torch.Tensor, **_: Any) -> torch.Tensor:
        assert not any(storage() for storage in alive)
        alive.append(weakref.ref(logits_CK.untyped_storage()))
        return logits_CK.sum().reshape(1)

    scores = projected(torch.float32)
    weighted_sums(scores, sums, [1.0])
    assert len(alive) > 1
