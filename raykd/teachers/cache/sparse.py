"""Scores of which some classes of a position are known, and the probability of all others.

Two things make such a target: the likeliest classes with the rest of the probability as one
bucket, or classes drawn from the teacher (random-sampling distillation, arXiv 2503.16870), which
leave no rest. Both hold for temperature 1 alone.
"""

from dataclasses import dataclass

import torch

from raykd.losses.derivative import Loss
from raykd.losses.softened import Logits
from raykd.scores import ALL, Chosen

_UNSEEN_LOG_PROB = -87.0
"""Stands for a class that was not drawn where scores of all are asked for: about the smallest
normal float32."""


def sparse_forward_kl(student: Logits, teacher: "SparseScores") -> Loss:
    """Return KL(teacher || student) over the kept classes and the bucket of all others.

    The sum over kept classes of p (log p - log q), and the same for the bucket, where q is the
    student's probability of all classes that are not kept. It is at most the divergence over all
    classes (the data processing inequality), and it is that where every class is kept. At
    temperature 1.
    """
    q = student.at(1.0)
    log_p_PS, tail_P1 = (
        teacher.log_probs_PS.to(student.dtype),
        teacher.log_tail_P.to(student.dtype).unsqueeze(-1),
    )
    p_PS, p_tail_P1 = log_p_PS.exp(), tail_P1.exp()
    # Not log(1 - sum): where the kept classes have nearly everything, nothing would be left of it.
    rest_PK = q.shifted_PK.scatter(-1, teacher.ids_PS, -torch.inf)
    has_rest_P1 = tail_P1 > -torch.inf
    log_rest_P1 = rest_PK.where(has_rest_P1, 0.0).logsumexp(dim=-1, keepdim=True)
    kept_PS = p_PS * (log_p_PS - q.shifted_PK.gather(-1, teacher.ids_PS) + q.log_total_P1).where(
        p_PS > 0, 0.0
    )
    bucket_P1 = p_tail_P1 * (tail_P1 - log_rest_P1 + q.log_total_P1).where(has_rest_P1, 0.0)
    return Loss(
        values_P=(kept_PS.sum(dim=-1, keepdim=True) + bucket_P1).squeeze(-1),
        softmax=q,
        total=p_PS.sum(dim=-1, keepdim=True) + p_tail_P1,
        # The bucket pulls at its classes by their shares of it.
        pull_PK=(rest_PK - log_rest_P1.clamp(min=torch.finfo(q.shifted_PK.dtype).min))
        .exp_()
        .mul_(p_tail_P1),
        few=(teacher.ids_PS, p_PS),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseScores:
    """The probabilities of some classes at each position."""

    ids_PS: torch.Tensor
    """The kept classes, int64. One that stands twice has its probability at one of the places."""

    log_probs_PS: torch.Tensor
    """Log probabilities of the kept classes; -inf is a place that is not used."""

    log_tail_P: torch.Tensor
    """Log probability of all other classes together; -inf is none."""

    num_classes: int

    @property
    def num_positions(self) -> int:
        """Return P."""
        return self.ids_PS.shape[0]

    def logits(self, chosen: Chosen = ALL) -> torch.Tensor:
        """Return log probabilities [C, K] whose unknown part is spread evenly, for metrics."""
        ids_CS, tail_C = self.ids_PS[chosen], self.log_tail_P[chosen].float()
        log_probs_CS = self.log_probs_PS[chosen].float()
        is_kept_CS = log_probs_CS > -torch.inf
        others_C = self.num_classes - is_kept_CS.sum(dim=-1)
        even_C = (tail_C - others_C.clamp(min=1).log()).clamp(min=_UNSEEN_LOG_PROB)
        spread_CK = even_C.unsqueeze(-1).expand(-1, self.num_classes)
        # The larger of two: a place that is not used must not undo the one that is.
        return spread_CK.scatter_reduce(-1, ids_CS, log_probs_CS, reduce="amax")

    def first(self, num_classes: int) -> "SparseScores":
        """Return the scores of the first classes only: all, as the teacher's were cut before.

        Raises:
            ValueError: There are others.
        """
        if num_classes != self.num_classes:
            message = f"sparse scores of {self.num_classes} classes cannot be cut to {num_classes}"
            raise ValueError(message)
        return self

    def at(self, chosen: Chosen) -> "SparseScores":
        """Return those of some positions."""
        return SparseScores(
            ids_PS=self.ids_PS[chosen],
            log_probs_PS=self.log_probs_PS[chosen],
            log_tail_P=self.log_tail_P[chosen],
            num_classes=self.num_classes,
        )
