"""Sums of losses over positions whose scores are never all in memory.

Scores of a vocabulary are by far the largest tensors of a step: positions x words, several times
over for the loss and its gradient. Here they are made, used and forgotten chunk by chunk; what
stays is the gradient into the features and into the linear map, which are small. The losses are
the project's own, each as it is written for scores that are there (the idea of computing the
gradient in the forward pass is that of Liger Kernel, Hsu et al., 2024, section 3.2).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from raykd.scores import ALL, DenseScores, ProjectedScores, Scores, chunks

Sums = Callable[[torch.Tensor, slice], torch.Tensor]
"""From the scores [C, K] of neighbouring positions, and which these are, to M sums of values over
them, differentiable in the scores."""


def weighted_sums(
    scores: Scores, sums: Sums, weights: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return M sums over all positions, and how they add up to one loss.

    Args:
        scores: Of the model that learns.
        sums: Of M losses.
        weights: Of each, M.

    Returns:
        The weighted total, a scalar to call backward on, once; and the M sums, detached. Both
        are float32, or float64 where the scores are.
    """
    if isinstance(scores, DenseScores):
        found_M = sums(scores.logits_PK, ALL)
        return (found_M * found_M.new_tensor(weights)).sum(), found_M.detach()
    if not isinstance(scores, ProjectedScores):
        message = f"{type(scores).__name__} cannot be learned"
        raise TypeError(message)
    total, found_M = _SumsInChunks.apply(  # type: ignore[no-untyped-call]
        scores.features_PD, scores.weight_KD, scores.bias_K, scores, sums, weights
    )
    return total, found_M


class _SumsInChunks(torch.autograd.Function):
    """The gradient is made with the sums: the scores of a chunk are there once."""

    @staticmethod
    def forward(  # noqa: PLR0913, PLR0917  tensors first, as autograd has it
        ctx: Any,
        features_PD: torch.Tensor,
        weight_KD: torch.Tensor,
        bias_K: torch.Tensor | None,
        scores: ProjectedScores,
        sums: Sums,
        weights: Sequence[float],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        dtype = torch.promote_types(features_PD.dtype, torch.float32)
        weights_M = torch.tensor(weights, dtype=dtype, device=features_PD.device)
        found_M = torch.zeros_like(weights_M)
        gradients = [
            torch.zeros_like(tensor, dtype=dtype) if is_needed and tensor is not None else None
            for tensor, is_needed in zip(
                (features_PD, weight_KD, bias_K), ctx.needs_input_grad, strict=False
            )
        ]
        for chosen in chunks(scores, features_PD.device):
            projected_CK = scores.projected(features_PD[chosen])
            with torch.enable_grad():
                projected_CK.requires_grad_()
                found = sums(scores.finished(projected_CK), chosen)
                (gradient_CK,) = torch.autograd.grad(found, projected_CK, weights_M.to(found))
            found_M += found.detach()
            _add_gradients(gradients, gradient_CK, scores, chosen)
        ctx.gradients = gradients
        ctx.dtypes = features_PD.dtype, weight_KD.dtype, weight_KD.dtype
        ctx.mark_non_differentiable(found_M)
        return (found_M * weights_M).sum(), found_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, total: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        found = [
            None if gradient is None else gradient.mul_(total).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return (*found, None, None, None)


def _add_gradients(
    gradients: Sequence[torch.Tensor | None],
    gradient_CK: torch.Tensor,
    scores: ProjectedScores,
    chosen: slice,
) -> None:
    """Add what one chunk gives to the gradients of features, weight and bias."""
    of_features_PD, of_weight_KD, of_bias_K = gradients
    weight_KD, _ = scores.parameters
    if of_features_PD is not None:
        of_features_PD[chosen] = gradient_CK @ weight_KD
    if of_weight_KD is not None:
        features_CD = scores.features_PD[chosen].to(gradient_CK.dtype)
        if of_weight_KD.dtype == gradient_CK.dtype:
            of_weight_KD.addmm_(gradient_CK.T, features_CD)
        else:
            of_weight_KD += gradient_CK.T @ features_CD
    if of_bias_K is not None:
        of_bias_K += gradient_CK.sum(dim=0, dtype=of_bias_K.dtype)
