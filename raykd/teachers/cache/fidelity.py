"""How near what is kept of a teacher is to what it says.

What is compared is the gradient of forward KL into the last linear map of a student that reads the
teacher's own features, and has learned how frequent the classes are and no more: most of its way
lies before it. Where no linear map makes the teacher's scores, it is the gradient into the scores.
Of one score, which is a number and no class, it is that of the squared difference from a 0.
"""

import math
from collections.abc import Iterator, Sequence

import torch

from raykd.losses.divergences import forward_kl
from raykd.losses.softened import Logits
from raykd.scores import ProjectedScores, Scores, chunks
from raykd.teachers.cache.sparse import SparseScores, sparse_forward_kl

_DIRECTIONS = 64
"""Random directions that features are projected on before gradients are compared: lengths and
angles stay about the same (Johnson and Lindenstrauss)."""


def device(scores: Scores) -> torch.device:
    """Return where scores are."""
    return scores.logits(slice(0, 0)).device


def _parts(several: Sequence[Scores]) -> Iterator[tuple[int, slice]]:
    for number, scores in enumerate(several):
        for chosen in chunks(scores, device(scores)):
            yield number, chosen


def frequencies(several: Sequence[Scores]) -> torch.Tensor:
    """Return the logits of the student: the teacher's mean probabilities, [K]."""
    sums = [
        several[number].logits(chosen).float().softmax(dim=-1).sum(dim=0)
        for number, chosen in _parts(several)
    ]
    total_K = torch.stack(sums).sum(dim=0)
    # The smallest normal, not 0, for what no row predicts: its logarithm stays finite.
    return (total_K / total_K.sum()).clamp(min=torch.finfo(total_K.dtype).tiny).log()


def gradient(
    exact: Sequence[Scores],
    kept: Sequence[Scores],
    student_K: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """Return the gradient of the student towards what is kept, with the exact features.

    Args:
        exact: What the teacher says about some batches.
        kept: What is kept of it.
        student_K: Logits of the student at every position.
        temperature: Divides all logits.

    Returns:
        [K, directions], or [P, K] where no linear map makes the scores.
    """
    log_q_K = (student_K / temperature).log_softmax(dim=-1)
    total: torch.Tensor | None = None
    pieces = []
    for number, chosen in _parts(exact):
        if len(student_K) == 1:
            error_CK = -kept[number].logits(chosen).float()
        else:
            error_CK = log_q_K.exp() - _target(kept[number], chosen, log_q_K, temperature)
        features_CD = _features(exact[number], chosen)
        if features_CD is None:
            pieces.append(error_CK)
        else:
            product = error_CK.T @ features_CD
            total = product if total is None else total + product
    return torch.cat(pieces) if total is None else total


def _features(scores: Scores, chosen: slice) -> torch.Tensor | None:
    if not isinstance(scores, ProjectedScores):
        return None
    features_CD = scores.features_PD[chosen].float()
    # On the CPU, from one seed: every chunk, way and device has the same directions.
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(features_CD.shape[1], _DIRECTIONS, generator=generator)
    return features_CD @ directions.to(features_CD.device)


def _target(
    scores: Scores, chosen: slice, log_q_K: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the probabilities that a student is drawn to, [C, K]."""
    if not isinstance(scores, SparseScores):
        return (scores.logits(chosen).float() / temperature).softmax(dim=-1)
    some = scores.at(chosen)
    kept_CK = torch.zeros(some.num_positions, some.num_classes, device=log_q_K.device)
    kept_CK.scatter_add_(-1, some.ids_PS, some.log_probs_PS.exp())
    # The bucket draws all its classes alike: they keep their shares of the student's probability.
    rest_CK = log_q_K.exp().expand_as(kept_CK).scatter(-1, some.ids_PS, 0.0)
    share_C1 = some.log_tail_P.exp().unsqueeze(-1) / rest_CK.sum(-1, keepdim=True).clamp(min=1e-30)
    return kept_CK + rest_CK * share_C1


def difference(exact: torch.Tensor, kept: torch.Tensor) -> tuple[float, float]:
    """Return the relative length of the difference, and the angle in degrees."""
    # float64: the cosine of a small angle differs from 1 by its square, which float32 rounds away.
    exact, kept = exact.double().flatten(), kept.double().flatten()
    error = float((kept - exact).norm() / exact.norm())
    cosine = float(torch.dot(exact, kept) / (exact.norm() * kept.norm()))
    return error, math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def captured(exact: Sequence[Scores], kept: Sequence[Scores]) -> float:
    """Return the teacher's mean probability of the classes that are kept."""
    if not isinstance(kept[0], SparseScores):
        return 1.0
    masses = []
    for number, chosen in _parts(exact):
        sparse = kept[number]
        assert isinstance(sparse, SparseScores)  # noqa: S101  all are, or none
        probs_CK = exact[number].logits(chosen).float().softmax(dim=-1)
        some = sparse.at(chosen)
        # A class that was drawn twice counts once, at the place that has its probability.
        used_CS = some.log_probs_PS > -torch.inf
        masses.append((probs_CK.gather(-1, some.ids_PS) * used_CS).sum(dim=-1))
    return float(torch.cat(masses).mean())


def kl_error(exact: Sequence[Scores], kept: Sequence[Scores], student_K: torch.Tensor) -> float:
    """Return how far the divergence from the student is off, at temperature 1."""
    log_q_K = student_K.log_softmax(dim=-1)
    true = off = 0.0
    for number, chosen in _parts(exact):
        true_C = _kl(exact[number], chosen, log_q_K)
        off += float((_kl(kept[number], chosen, log_q_K) - true_C).abs().sum())
        true += float(true_C.sum())
    return off / true


def _kl(scores: Scores, chosen: slice, log_q_K: torch.Tensor) -> torch.Tensor:
    student = Logits(log_q_K.expand(chosen.stop - chosen.start, -1))
    if isinstance(scores, SparseScores):
        return sparse_forward_kl(student, scores.at(chosen)).values_P
    teacher = student.like(scores.logits(chosen))
    plain = forward_kl(student, teacher, temperature=1.0, scale_by_temperature_squared=False)
    return plain.values_P
