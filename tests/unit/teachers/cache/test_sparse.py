"""Sparse targets: the divergence with a bucket, against all classes in float64."""

import numpy as np
import pytest
import torch
from raykd.losses.terms import per_position
from raykd.scores import DenseScores
from raykd.splitmix import mixed
from raykd.teachers.cache import sparse as sparse_scores
from raykd.teachers.cache.drawn import SampledEncoding, TopKEncoding
from raykd.teachers.cache.payload import Keys
from raykd.teachers.cache.quantisation import quantised, restored
from raykd.teachers.cache.sparse import SparseScores

from tests.unit.losses.on_logits import forward_kl

CPU = torch.device("cpu")


def sparse_forward_kl(student_PK: torch.Tensor, teacher: SparseScores) -> torch.Tensor:
    return per_position(
        student_PK, lambda student: sparse_scores.sparse_forward_kl(student, teacher)
    )


def logits(seed: int, *, positions: int = 5, classes: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(positions, classes, generator=generator, dtype=torch.float64)


def kept(teacher_PK: torch.Tensor, size: int) -> SparseScores:
    """Return the likeliest classes in float64."""
    log_probs_PK = teacher_PK.log_softmax(-1)
    log_probs_PS, ids_PS = log_probs_PK.topk(size)
    tail_P = log_probs_PK.scatter(-1, ids_PS, -torch.inf).logsumexp(-1)
    return SparseScores(
        ids_PS=ids_PS,
        log_probs_PS=log_probs_PS,
        log_tail_P=tail_P,
        num_classes=teacher_PK.shape[1],
    )


def with_bucket(probs_PK: torch.Tensor, ids_PS: torch.Tensor) -> torch.Tensor:
    """Return the kept classes, and as a last one all others."""
    rest_PK = probs_PK.scatter(-1, ids_PS, 0.0)
    return torch.cat([probs_PK.gather(-1, ids_PS), rest_PK.sum(-1, keepdim=True)], dim=-1)


@pytest.mark.parametrize("size", [1, 4, 11])
def test_it_is_the_divergence_over_the_kept_classes_and_a_bucket(size: int) -> None:
    teacher_PK, student_PK = logits(0), logits(1).requires_grad_()
    sparse = kept(teacher_PK, size)
    found_P = sparse_forward_kl(student_PK, sparse)
    p_PS = with_bucket(teacher_PK.softmax(-1), sparse.ids_PS)
    q_PS = with_bucket(student_PK.softmax(-1), sparse.ids_PS)
    expected_P = (p_PS * (p_PS / q_PS).log()).sum(-1)
    torch.testing.assert_close(found_P, expected_P, atol=1e-12, rtol=1e-12)
    (found,) = torch.autograd.grad(found_P.sum(), student_PK)
    (expected,) = torch.autograd.grad(expected_P.sum(), student_PK)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert (
        found_P
        <= forward_kl(student_PK, teacher_PK, temperature=1, scale_by_temperature_squared=True)
        + 1e-12
    ).all()


def test_with_all_classes_it_is_forward_kl() -> None:
    teacher_PK, student_PK = logits(0), logits(1).requires_grad_()
    found_P = sparse_forward_kl(student_PK, kept(teacher_PK, 12))
    expected_P = forward_kl(
        student_PK, teacher_PK, temperature=1, scale_by_temperature_squared=True
    )
    torch.testing.assert_close(found_P, expected_P, atol=1e-12, rtol=1e-12)
    found, expected = (
        torch.autograd.grad(values_P.sum(), student_PK)[0] for values_P in (found_P, expected_P)
    )
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_a_student_that_agrees_is_at_zero_and_one_that_rules_out_the_rest_has_no_nan() -> None:
    teacher_PK = logits(0).float()
    sparse = TopKEncoding(num_classes=12, size=4)
    columns = sparse.encode(DenseScores(logits_PK=teacher_PK), keys(5))
    values_P = sparse_forward_kl(teacher_PK, sparse.decode(columns, CPU))
    torch.testing.assert_close(values_P, torch.zeros(5), atol=2e-6, rtol=0)
    extreme_PK = (1e4 * teacher_PK).requires_grad_()
    total = sparse_forward_kl(extreme_PK, sparse.decode(columns, CPU)).sum()
    (gradient_PK,) = torch.autograd.grad(total, extreme_PK)
    assert gradient_PK.isfinite().all()


def keys(positions: int, seed: int = 0) -> Keys:
    numbers = np.arange(positions, dtype=np.uint64)
    return mixed(numbers + np.uint64(seed << 20))


def test_the_likeliest_classes_and_the_rest_are_kept_to_the_precision_of_their_type() -> None:
    teacher_PK = logits(0).float()
    encoding = TopKEncoding(num_classes=12, size=4)
    found = encoding.decode(encoding.encode(DenseScores(logits_PK=teacher_PK), keys(5)), CPU)
    exact = kept(teacher_PK.double(), 4)
    assert torch.equal(found.ids_PS, exact.ids_PS)
    torch.testing.assert_close(found.log_probs_PS.double(), exact.log_probs_PS, atol=4e-3, rtol=0)
    torch.testing.assert_close(found.log_tail_P.double(), exact.log_tail_P, atol=4e-3, rtol=0)
    mass_P = found.log_probs_PS.exp().sum(-1) + found.log_tail_P.exp()
    torch.testing.assert_close(mass_P, torch.ones(5))
    spread_PK = found.logits().softmax(-1)
    assert torch.equal(spread_PK.topk(4).indices.sort().values, found.ids_PS.sort().values)
    torch.testing.assert_close(spread_PK.gather(-1, found.ids_PS), found.log_probs_PS.exp())


def test_draws_give_the_gradient_of_all_classes_on_average() -> None:
    teacher_PK, student_PK = logits(0).float(), logits(1).float().requires_grad_()
    encoding, times = SampledEncoding(num_classes=12, size=6), 4000
    repeated = DenseScores(logits_PK=teacher_PK.repeat(times, 1))
    drawn = encoding.decode(encoding.encode(repeated, keys(5 * times)), CPU)
    mass_P = drawn.log_probs_PS.exp().sum(-1)
    torch.testing.assert_close(mass_P, torch.ones(5 * times))
    values = sparse_forward_kl(student_PK.repeat(times, 1), drawn).sum() / times
    (found_PK,) = torch.autograd.grad(values, student_PK)
    expected_PK = student_PK.softmax(-1) - teacher_PK.softmax(-1)
    torch.testing.assert_close(found_PK, expected_PK.detach(), atol=0.006, rtol=0)
    # Evenly spaced draws: every class is drawn as often as its share says, rounded up or down.
    shares_PK = drawn.logits().exp().view(times, 5, 12)
    off_PK = (shares_PK - teacher_PK.softmax(-1)).abs()
    assert float(off_PK.max()) < 1 / 6 + 1e-4


def test_draws_depend_on_the_position_alone() -> None:
    teacher = DenseScores(logits_PK=logits(0).float())
    encoding = SampledEncoding(num_classes=12, size=6)
    all_of_them = encoding.encode(teacher, keys(5))["ids"]
    some = DenseScores(logits_PK=teacher.logits_PK[3:])
    assert (encoding.encode(some, keys(5)[3:])["ids"] == all_of_them[3:]).all()
    assert (encoding.encode(teacher, keys(5, seed=1))["ids"] != all_of_them).any()


def test_integers_are_off_by_half_a_factor_at_most() -> None:
    values_PD = logits(0, classes=100).float()
    values_PD[2] = 0
    integers_PD, factor_P = quantised(values_PD)
    assert integers_PD.dtype == torch.int8
    off_PD = (restored(integers_PD, factor_P) - values_PD).abs()
    assert (off_PD <= 0.5001 * factor_P[:, None]).all()
    assert float(off_PD[2].max()) == 0
