"""Scores of which some classes of a position are known, and the probability of all others.

Two things make such a target: the likeliest classes with the rest of the probability as one
bucket, or classes drawn from the teacher (random-sampling distillation, arXiv 2503.16870), which
leave no rest. Both hold for temperature 1 alone.
"""

from dataclasses import dataclass

import torch

from raykd.losses.divergences import widened
from raykd.scores import ALL, Chosen

_UNSEEN_LOG_PROB = -87.0
"""Stands for a class that was not drawn where scores of all are asked for: about the smallest
normal float32."""


def sparse_forward_kl(student_logits_PK: torch.Tensor, teacher: "SparseScores") -> torch.Tensor:
    """Return KL(teacher || student) over the kept classes and the bucket of all others.

    The sum over kept classes of p (log p - log q), and the same for the bucket, where q is the
    student's probability of all classes that are not kept. It is at most the divergence over all
    classes (the data processing inequality), and it is that where every class is kept.

    Returns:
        Nats at temperature 1, shape [P], in float32 (float64 for float64 student logits).
    """
    log_q_PK = widened(student_logits_PK).log_softmax(dim=-1)
    log_p_PS, tail_P = teacher.log_probs_PS.to(log_q_PK), teacher.log_tail_P.to(log_q_PK)
    kept_P = _weighed(log_p_PS, log_q_PK.gather(-1, teacher.ids_PS)).sum(dim=-1)
    # Not log(1 - sum): where the kept classes have nearly everything, nothing would be left of it.
    rest_PK = log_q_PK.scatter(-1, teacher.ids_PS, -torch.inf)
    has_rest_P = tail_P > -torch.inf
    log_rest_P = rest_PK.where(has_rest_P.unsqueeze(-1), 0.0).logsumexp(dim=-1)
    return kept_P + _weighed(tail_P, log_rest_P)


def _weighed(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Return p (log p - log q), 0 where p is."""
    p = log_p.exp()
    # Chosen before the product, whose gradient at 0 * inf is NaN.
    return p * (log_p - log_q).where(p > 0, 0.0)


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
