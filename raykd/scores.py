"""What a model scores at positions, and sums of losses over it, without holding all of it.

Scores of a vocabulary are by far the largest tensors of a step: positions x words, several times
over for the loss and its gradient. Here they are made, used and forgotten chunk by chunk; what
stays is the gradient into the features and into the linear map, which are small. The losses are
the project's own, each as it is written for scores that are there (the idea of computing the
gradient in the forward pass is that of Liger Kernel, Hsu et al., 2024, section 3.2).

The dimension key is that of raykd.batch; C is some of the P positions, M is losses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_CHUNK_BYTES = 24 << 20
"""Scores in memory at a time on a CPU. The C library maps blocks of 32 MiB and more anew every
time, and each of their pages faults."""

_CHUNK_BYTES_OF_CUDA = 512 << 20
"""Scores in memory at a time on a GPU."""

_LEAST_ROWS = 32
"""Positions of a chunk, however many classes there are."""

Chosen = slice | torch.Tensor
"""Some of the positions: neighbours, or their indices."""

ALL = slice(None)

Sums = Callable[[torch.Tensor, slice], torch.Tensor]
"""From the scores [C, K] of neighbouring positions, and which these are, to M sums of values over
them, differentiable in the scores."""


class Scores(Protocol):
    """Unnormalised scores of P positions for K classes."""

    @property
    def num_positions(self) -> int:
        """Return P."""

    @property
    def num_classes(self) -> int:
        """Return K."""

    def logits(self, chosen: Chosen = ALL) -> torch.Tensor:
        """Return the scores of some positions, [C, K]."""

    def first(self, num_classes: int) -> "Scores":
        """Return the scores of the first classes only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseScores:
    """Scores that are there: of few classes."""

    logits_PK: torch.Tensor

    @property
    def num_positions(self) -> int:
        """Return P."""
        return self.logits_PK.shape[0]

    @property
    def num_classes(self) -> int:
        """Return K."""
        return self.logits_PK.shape[1]

    def logits(self, chosen: Chosen = ALL) -> torch.Tensor:
        """Return the scores of some positions, [C, K]."""
        return self.logits_PK[chosen]

    def first(self, num_classes: int) -> "DenseScores":
        """Return the scores of the first classes only."""
        return DenseScores(logits_PK=self.logits_PK[:, :num_classes])


@dataclass(frozen=True, kw_only=True)
class ProjectedScores:
    """Scores that a linear map makes from few features, as they are asked for."""

    features_PD: torch.Tensor
    """What the last linear map of a head reads."""

    weight_KD: torch.Tensor
    bias_K: torch.Tensor | None = None
    scale: float = 1.0
    """Multiplies what the map returns."""

    softcap: float | None = None
    """Then c tanh(x / c), where there is such a c (Gemma 2, section 2)."""

    dtype: torch.dtype | None = None
    """Type of the product, where it is not that of the features: autocast's."""

    @property
    def num_positions(self) -> int:
        """Return P."""
        return self.features_PD.shape[0]

    @property
    def num_classes(self) -> int:
        """Return K."""
        return self.weight_KD.shape[0]

    def logits(self, chosen: Chosen = ALL) -> torch.Tensor:
        """Return the scores of some positions, [C, K]."""
        return self.finished(self.projected(self.features_PD[chosen]))

    def projected(self, features_CD: torch.Tensor) -> torch.Tensor:
        """Return what the linear map makes of features, [C, K]."""
        weight_KD, bias_K = self.parameters
        return F.linear(features_CD.to(weight_KD.dtype), weight_KD, bias_K)

    def finished(self, projected_CK: torch.Tensor) -> torch.Tensor:
        """Return the scores that follow from what the linear map made."""
        if self.scale != 1.0:
            projected_CK = projected_CK * self.scale
        if self.softcap is not None:
            projected_CK = self.softcap * torch.tanh(projected_CK / self.softcap)
        return projected_CK

    def first(self, num_classes: int) -> "ProjectedScores":
        """Return the scores of the first classes only."""
        if num_classes == self.num_classes:
            return self
        return ProjectedScores(
            features_PD=self.features_PD,
            weight_KD=self.weight_KD[:num_classes],
            bias_K=None if self.bias_K is None else self.bias_K[:num_classes],
            scale=self.scale,
            softcap=self.softcap,
            dtype=self.dtype,
        )

    @cached_property
    def parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias in the type of the product: converted once, not in each chunk."""
        dtype = self.dtype or self.weight_KD.dtype
        bias_K = None if self.bias_K is None else self.bias_K.to(dtype)
        return self.weight_KD.to(dtype), bias_K


def chunk_positions(num_classes: int, *, on_gpu: bool) -> int:
    """Return how many positions have their scores in memory at a time.

    It does not depend on what is free at the moment: sums would round differently when a run is
    repeated.
    """
    budget = _CHUNK_BYTES_OF_CUDA if on_gpu else _CHUNK_BYTES
    return max(_LEAST_ROWS, budget // (4 * max(num_classes, 1)))


def chunks(scores: Scores, device: torch.device) -> Iterator[slice]:
    """Yield neighbouring positions, together all, whose scores fit a small share of the memory."""
    rows = chunk_positions(scores.num_classes, on_gpu=device.type == "cuda")
    for start in range(0, scores.num_positions, rows):
        yield slice(start, min(start + rows, scores.num_positions))


def by_position(
    scores: Scores,
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    labels_P: torch.Tensor,
) -> torch.Tensor:
    """Return a value of every position, without ever holding all scores.

    Args:
        scores: Of P positions.
        measure: From scores [C, K] and labels [C] to values [C, ...].
        labels_P: What is right at each position.
    """
    parts = [
        measure(scores.logits(chosen), labels_P[chosen])
        for chosen in chunks(scores, labels_P.device)
    ]
    return torch.cat(parts) if parts else measure(scores.logits(), labels_P)


def first_unsound(scores: Scores, labels_P: torch.Tensor) -> int | None:
    """Return the first position with a score that is NaN or infinite; None where there is none.

    Args:
        scores: Of P positions.
        labels_P: What is right at each, on the device of the scores.
    """
    is_sound_P = by_position(scores, lambda logits_CK, _: logits_CK.isfinite().all(-1), labels_P)
    unsound = (~is_sound_P).nonzero()
    return int(unsound[0]) if len(unsound) else None


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
        sums_M = sums(scores.logits_PK, ALL)
        return (sums_M * sums_M.new_tensor(weights)).sum(), sums_M.detach()
    if not isinstance(scores, ProjectedScores):
        message = f"{type(scores).__name__} cannot be learned"
        raise TypeError(message)
    total, sums_M = _SumsInChunks.apply(  # type: ignore[no-untyped-call]
        scores.features_PD, scores.weight_KD, scores.bias_K, scores, sums, weights
    )
    return total, sums_M


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
        # At least float32: the gradients of many chunks are added, and bfloat16 would drop small
        # ones.
        dtype = torch.promote_types(features_PD.dtype, torch.float32)
        weights_M = torch.tensor(weights, dtype=dtype, device=features_PD.device)
        sums_M = torch.zeros_like(weights_M)
        gradients = [
            torch.zeros_like(tensor, dtype=dtype) if is_needed and tensor is not None else None
            for tensor, is_needed in zip(
                (features_PD, weight_KD, bias_K), ctx.needs_input_grad, strict=False
            )
        ]
        for chosen in chunks(scores, features_PD.device):
            projected_CK = scores.projected(features_PD[chosen])
            # autograd is off in here: this graph lives for one chunk.
            with torch.enable_grad():
                projected_CK.requires_grad_()
                chunk_M = sums(scores.finished(projected_CK), chosen)
                (gradient_CK,) = torch.autograd.grad(chunk_M, projected_CK, weights_M.to(chunk_M))
            sums_M += chunk_M.detach()
            _add_gradients(gradients, gradient_CK, scores, chosen)
        ctx.gradients = gradients
        ctx.dtypes = features_PD.dtype, weight_KD.dtype, weight_KD.dtype
        ctx.mark_non_differentiable(sums_M)
        return (sums_M * weights_M).sum(), sums_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, total: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        # Scaled in place and let go: they are as large as the features and the linear map.
        gradients, ctx.gradients = ctx.gradients, None
        scaled = [
            None if gradient is None else gradient.mul_(total).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None)


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
        # addmm_ wants one type; under autocast the product is in its type, the sum in float32.
        if of_weight_KD.dtype == gradient_CK.dtype:
            of_weight_KD.addmm_(gradient_CK.T, features_CD)
        else:
            of_weight_KD += gradient_CK.T @ features_CD
    if of_bias_K is not None:
        of_bias_K += gradient_CK.sum(dim=0, dtype=of_bias_K.dtype)
