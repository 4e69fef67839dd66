"""Sums of losses over positions, and their gradient in what makes the scores, chunk by chunk.

Scores of a vocabulary are made, used and forgotten; what stays is the gradient into the features
and into the linear map, which are small. The idea of computing the gradient in the forward pass is
that of Liger Kernel (Hsu et al., 2024, section 3.2).

The dimension key is that of raykd.batch; C is some of the P positions, K is classes, M is losses.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.autograd.function import once_differentiable

from raykd.scores import DenseScores, ProjectedScores, Scores

_CHUNK_BYTES = 100 << 20
"""Scores in memory at a time on a CPU. Each chunk adds to the gradient of the linear map, which is
about as large as the chunk."""

_CHUNK_BYTES_OF_CUDA = 512 << 20
"""Scores in memory at a time on a GPU."""

_LEAST_ROWS = 32
"""Positions of a chunk, however many classes there are."""

_BLOCK_BYTES, _BLOCK_BYTES_OF_CUDA = 1 << 20, 64 << 20
"""Scores in float32 that one pass after the other is taken over: with what is made of them they
fit into the cache."""


class Sums(Protocol):
    """M sums of values over positions."""

    def __call__(
        self,
        logits_CK: torch.Tensor,
        *,
        chosen: slice,
        weights: Sequence[float],
        masked: bool,
    ) -> torch.Tensor:
        """Return the sums over neighbouring positions, and put the gradient in the scores' place.

        Args:
            logits_CK: The scores; then the derivative of the weighted sums in them.
            chosen: Which positions they are.
            weights: Of each sum, M.
            masked: Some scores may be -inf.
        """


Measured = tuple[torch.Tensor, torch.Tensor]
"""Values, and a gradient."""


def with_masks_if_needed(measure: Callable[..., Measured], device: torch.device) -> Measured:
    """Return what is measured without masks where its values are finite, and else with them.

    A pass over a vocabulary that looks for -inf costs as much as one that computes. On a GPU
    masks are always taken: to look at a value there is to wait for it.

    Args:
        measure: Takes the keyword ``masked``.
        device: Where it measures.
    """
    if device.type != "cuda":
        values, gradient = measure(masked=False)
        if values.isfinite().all():
            return values, gradient
    return measure(masked=True)


def blocks(logits_CK: torch.Tensor) -> Iterator[slice]:
    """Yield neighbouring positions, together all, few enough for the cache."""
    num_positions, num_classes = logits_CK.shape
    budget = _BLOCK_BYTES_OF_CUDA if logits_CK.is_cuda else _BLOCK_BYTES
    rows = max(1, budget // (4 * num_classes))
    for start in range(0, num_positions, rows):
        yield slice(start, min(start + rows, num_positions))


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
    gradients = _gradients_of(scores)
    (first, *_), device = gradients.inputs, gradients.inputs[0].device
    dtype = torch.promote_types(first.dtype, torch.float32)
    sums_M = torch.zeros(len(weights), dtype=dtype, device=device)
    with torch.no_grad():
        for chosen in _chunks(scores, first):
            measure = functools.partial(_of_chunk, scores, sums, chosen, weights)
            chunk_M, gradient_CK = with_masks_if_needed(measure, device)
            sums_M += chunk_M
            gradients.add(gradient_CK, chosen)
            # Not beside the next chunk, which is as large.
            del gradient_CK
        # Number by number: a tensor of the weights would be waited for on a GPU.
        total = torch.stack([w * each for w, each in zip(weights, sums_M, strict=True)]).sum()
    total = _KnownGradients.apply(total, gradients.all(), *gradients.inputs)  # type: ignore[no-untyped-call]
    return total, sums_M


def chunk_positions(num_classes: int, *, dtype: torch.dtype, on_gpu: bool) -> int:
    """Return how many positions have their scores in memory at a time while their loss is made.

    It does not depend on what is free at the moment: sums would round differently when a run is
    repeated.
    """
    budget = _CHUNK_BYTES_OF_CUDA if on_gpu else _CHUNK_BYTES
    return max(_LEAST_ROWS, budget // (dtype.itemsize * num_classes))


def _chunks(scores: Scores, like: torch.Tensor) -> Iterator[slice]:
    """Yield neighbouring positions, together all and alike in number."""
    most = chunk_positions(scores.num_classes, dtype=like.dtype, on_gpu=like.is_cuda)
    num_chunks = math.ceil(scores.num_positions / most)
    ends = [scores.num_positions * number // num_chunks for number in range(1, num_chunks + 1)]
    for start, end in zip([0, *ends], ends, strict=False):
        yield slice(start, end)


def _of_chunk(
    scores: Scores, sums: Sums, chosen: slice, weights: Sequence[float], *, masked: bool
) -> Measured:
    logits_CK, slope = scores.logits(chosen), None
    if isinstance(scores, ProjectedScores):
        slope = scores.slope(logits_CK)
    else:
        logits_CK = logits_CK.clone()
    sums_M = sums(logits_CK, chosen=chosen, weights=weights, masked=masked)
    return sums_M, logits_CK if slope is None else logits_CK.mul_(slope)


def _gradients_of(scores: Scores) -> "_OfLogits | _OfMap":
    if isinstance(scores, DenseScores):
        return _OfLogits(scores)
    if isinstance(scores, ProjectedScores):
        return _OfMap(scores)
    message = f"{type(scores).__name__} cannot be learned"
    raise TypeError(message)


class _OfLogits:
    """The gradient of scores that are there."""

    def __init__(self, scores: DenseScores) -> None:
        self.inputs = (scores.logits_PK,)
        self._parts = [scores.logits_PK[:0]]

    def add(self, gradient_CK: torch.Tensor, _: slice) -> None:
        """Take the gradient of the next positions."""
        self._parts.append(gradient_CK)

    def all(self) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient of each input."""
        return (torch.cat(self._parts),)


class _OfMap:
    """The gradients of features, weight and bias of a linear map, of each that needs one."""

    def __init__(self, scores: ProjectedScores) -> None:
        self.inputs = scores.features_PD, scores.weight_KD, scores.bias_K
        self._needs = [each is not None and each.requires_grad for each in self.inputs]
        self._weight_KD, _ = scores.parameters
        self._features_PD = scores.features_PD.to(self._weight_KD.dtype)
        self._of_features = [self._features_PD[:0]]
        self._of_weight_KD: torch.Tensor | None = None
        self._of_bias_K: torch.Tensor | None = None

    def add(self, gradient_CK: torch.Tensor, chosen: slice) -> None:
        """Take the gradient of the scores of the next positions."""
        if self._needs[0]:
            self._of_features.append(gradient_CK @ self._weight_KD)
        if self._needs[1]:
            self._add_to_weight(gradient_CK.T, self._features_PD[chosen])
        if self._needs[2]:
            sum_K = gradient_CK.sum(dim=0, dtype=self.inputs[1].dtype)
            self._of_bias_K = sum_K if self._of_bias_K is None else self._of_bias_K + sum_K

    def _add_to_weight(self, gradient_KC: torch.Tensor, features_CD: torch.Tensor) -> None:
        dtype = self.inputs[1].dtype
        if self._of_weight_KD is None:
            self._of_weight_KD = (gradient_KC @ features_CD).to(dtype)
        # addmm_ wants one type; under autocast the product is in its type, the sum in float32.
        elif dtype == gradient_KC.dtype:
            self._of_weight_KD.addmm_(gradient_KC, features_CD)
        else:
            self._of_weight_KD += gradient_KC @ features_CD

    def all(self) -> tuple[torch.Tensor | None, ...]:
        """Return the gradient of each input."""
        of_features_PD = torch.cat(self._of_features) if self._needs[0] else None
        sums = of_features_PD, self._of_weight_KD, self._of_bias_K
        return tuple(
            torch.zeros_like(each) if needs and each is not None and found is None else found
            for each, found, needs in zip(self.inputs, sums, self._needs, strict=True)
        )


class _KnownGradients(torch.autograd.Function):
    """A total whose gradients were made with it."""

    @staticmethod
    def forward(
        ctx: Any,
        total: torch.Tensor,
        gradients: tuple[torch.Tensor | None, ...],
        *inputs: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.gradients = gradients
        ctx.dtypes = [None if each is None else each.dtype for each in inputs]
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        # Scaled in place and let go: they are as large as the features and the linear map.
        gradients, ctx.gradients = ctx.gradients, None
        if upstream.is_cuda or upstream != 1:
            gradients = [None if each is None else each.mul_(upstream) for each in gradients]
        found = zip(gradients, ctx.dtypes, strict=True)
        return None, None, *(None if each is None else each.to(dtype) for each, dtype in found)
