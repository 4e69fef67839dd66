"""Sums made chunk by chunk are those of scores that are all there: values and gradients."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
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
from raykd.losses.terms import LossTerm, build_terms
from raykd.models.families import FAMILIES
from raykd.scores import (
    ALL,
    DenseScores,
    ProjectedScores,
    Sums,
    by_position,
    chunks,
    weighted_sums,
)
from raykd.tasks.tally import predictions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.tiny_models import padded_batch, scored, tiny_model

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
    monkeypatch.setattr("raykd.scores._LEAST_ROWS", 3)
    monkeypatch.setattr("raykd.scores._CHUNK_BYTES", 1)


def sum_of(term: LossTerm, logits_CK: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
    """Return the sum of a term against the logits of the teacher or the labels."""
    teacher_CK, labels_C = targets
    target = teacher_CK if term.needs_teacher else labels_C
    return term.per_position(logits_CK, target, **term.settings_at(0.3)).sum()


def sums_against(
    teacher_PK: torch.Tensor, labels_P: torch.Tensor, *, compiled: bool = False
) -> Sums:
    terms = build_terms(LOSSES, compiled=compiled)
    assert len(terms) == len(WEIGHTS)

    def sums(logits_CK: torch.Tensor, chosen: slice) -> torch.Tensor:
        return torch.stack(
            [sum_of(term, logits_CK, teacher_PK[chosen], labels_P[chosen]) for term in terms]
        )

    return sums


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
    sums = sums_against(teacher_PK, labels_P)
    in_chunks, whole = projected(dtype, **changes), projected(dtype, **changes)
    loss, sums_M = weighted_sums(in_chunks, sums, WEIGHTS)
    (3 * loss).backward()
    expected, expected_M = weighted_sums(DenseScores(logits_PK=whole.logits()), sums, WEIGHTS)
    (3 * expected).backward()
    assert len(list(chunks(in_chunks, labels_P.device))) > 3
    torch.testing.assert_close(loss, expected, atol=0, rtol=tolerance)
    torch.testing.assert_close(sums_M, expected_M, atol=0, rtol=tolerance)
    for mine, theirs in zip(inputs_of(in_chunks), inputs_of(whole), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(mine.grad, theirs.grad, atol=tolerance * scale, rtol=0)


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
    terms = build_terms(LOSSES)

    def sums(logits_CK: torch.Tensor, chosen: slice) -> torch.Tensor:
        teacher_CK, labels_C = teacher.logits(chosen).detach(), labels_P[chosen]
        return torch.stack([sum_of(term, logits_CK, teacher_CK, labels_C) for term in terms])

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
    sums = sums_against(teacher(batch).logits_PK.detach()[:, :num_classes], batch.labels_P)
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
    sums = sums_against(teacher_PK, labels_P)
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


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_losses_are_those_that_are_not() -> None:
    """And are compiled once: chunks of another size, and another moment, change nothing."""
    # Graphs are counted by process: other tests may have compiled some.
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    labels_P = torch.arange(P) % K
    teacher_PK = projected(torch.float32, seed=1).logits().detach()
    found = []
    for compiled in (False, True):
        scores = projected(torch.float32)
        sums = sums_against(teacher_PK, labels_P, compiled=compiled)
        loss, sums_M = weighted_sums(scores, sums, WEIGHTS)
        loss.backward()
        found.append((sums_M, *(tensor.grad for tensor in inputs_of(scores))))
    for expected, mine in zip(*found, strict=True):
        assert expected is not None
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
    compilations = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert 0 < compilations <= 2 * len(WEIGHTS)


def test_no_position_has_a_gradient_of_zeros() -> None:
    scores = replace(projected(torch.float32), features_PD=torch.zeros(0, D, requires_grad=True))
    sums = sums_against(torch.zeros(0, K), torch.zeros(0, dtype=torch.int64))
    loss, sums_M = weighted_sums(scores, sums, WEIGHTS)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not sums_M.any()
    assert all(t.grad is not None and not t.grad.any() for t in inputs_of(scores))


def test_what_is_frozen_has_no_gradient() -> None:
    scores = projected(torch.float32)
    scores.weight_KD.requires_grad = False
    teacher_PK = projected(torch.float32, seed=1).logits().detach()
    sums = sums_against(teacher_PK, torch.zeros(P, dtype=torch.int64))
    loss, _ = weighted_sums(scores, sums, WEIGHTS)
    loss.backward()
    assert scores.weight_KD.grad is None
    assert scores.features_PD.grad is not None


def test_values_by_position_are_those_of_all_scores() -> None:
    scores, labels_P = projected(torch.float32), torch.arange(P) % K
    found_P2 = by_position(
        scores,
        lambda logits_CK, labels_C: torch.stack([logits_CK.sum(-1), labels_C], -1),
        labels_P,
    )
    expected_P2 = torch.stack([scores.logits(ALL).sum(-1), labels_P], -1)
    torch.testing.assert_close(found_P2, expected_P2)
