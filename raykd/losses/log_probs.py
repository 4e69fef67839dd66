"""Arithmetic on log probabilities that survives classes of probability zero.

Log probabilities have shape [..., K]; -inf marks a class that is ruled out. Values and
gradients are free of NaN there, which the textbook formulas are not: 0 * inf and inf - inf.
"""

import torch


def kl(log_p_PK: torch.Tensor, log_q_PK: torch.Tensor) -> torch.Tensor:
    """Return KL(p || q), the sum over classes of p (log p - log q).

    A class that p rules out contributes nothing. One that only q rules out makes the value
    infinite; the gradient into q stays finite, that into p does not.

    Args:
        log_p_PK: Log probabilities that the mean is taken over.
        log_q_PK: Log probabilities compared with them.

    Returns:
        Nats, the shape without its last dimension: exactly zero where both are equal, never
        negative.
    """
    p_PK = log_p_PK.exp()
    # Chosen before the product, whose gradient at 0 * inf is NaN.
    log_ratio_PK = (log_p_PK - log_q_PK).where(p_PK > 0, 0.0)
    kl_P = (p_PK * log_ratio_PK).sum(dim=-1)
    # Rounding can take the sum below zero where both nearly agree: lift the value only, because
    # clamping would stop the gradient there.
    return torch.where(kl_P < 0, kl_P - kl_P.detach(), kl_P)


def log_mixture(
    log_p_PK: torch.Tensor, log_q_PK: torch.Tensor, *, share_of_p: float
) -> torch.Tensor:
    """Return the log of share_of_p * p + (1 - share_of_p) * q.

    Where p = q the result is that very number, which log-sum-exp of weighted terms misses by
    a rounding error: divergences from the mixture are exactly zero there.

    Args:
        log_p_PK: Log probabilities; a class that they rule out needs no gradient into them.
        log_q_PK: Log probabilities of the same classes.
        share_of_p: From 0 (q itself) up to, but not including, 1.

    Raises:
        ValueError: The share is outside this range.
    """
    if not 0 <= share_of_p < 1:
        message = f"the share of a mixture must be in [0, 1), got {share_of_p}"
        raise ValueError(message)
    if share_of_p == 0:
        return log_q_PK
    # Relative to the larger of the two: exp of a positive difference could overflow. Ruled out
    # by p counts as q being the larger, whether or not q rules it out too.
    log_ratio_PK = (log_q_PK - log_p_PK).where(log_p_PK > -torch.inf, torch.inf)
    above_p_PK = (1 - share_of_p) * log_ratio_PK.clamp(max=0).expm1()
    above_q_PK = share_of_p * (-log_ratio_PK).clamp(max=0).expm1()
    return torch.where(
        log_ratio_PK <= 0, log_p_PK + above_p_PK.log1p(), log_q_PK + above_q_PK.log1p()
    )
