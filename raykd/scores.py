"""What a model scores at positions, without holding all of it.

Scores of a vocabulary are by far the largest tensors of a step: positions x words. Here they are
made, used and forgotten chunk by chunk.

The dimension key is that of raykd.batch; C is some of the P positions.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch.nn import functional as F

_CHUNK_BYTES = 24 << 20
"""Scores in memory at a time on a CPU. The C library maps blocks of 32 MiB and more anew every
time, and each of their pages faults."""

_CHUNK_BYTES_OF_CUDA = 512 << 20
"""Scores in memory at a time on a GPU."""

REMEMBERED_BYTES = 128 << 20
"""Scores of a teacher, in float32, that several students of a process share in a step."""

_LEAST_ROWS = 32
"""Positions of a chunk, however many classes there are."""

Chosen = slice | torch.Tensor
"""Some of the positions: neighbours, or their indices."""

ALL = slice(None)


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

    def slope(self, logits_CK: torch.Tensor) -> torch.Tensor | float | None:
        """Return the derivative of scores in what the linear map made of them; None is 1."""
        if self.softcap is not None:
            return (logits_CK / self.softcap).square_().neg_().add_(1).mul_(self.scale)
        return None if self.scale == 1.0 else self.scale

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RememberedScores:
    """Scores that are made once for all students that ask about the same chunk of positions."""

    scores: Scores
    _made: dict[tuple[int, int, int], torch.Tensor] = field(default_factory=dict)

    @property
    def num_positions(self) -> int:
        """Return P."""
        return self.scores.num_positions

    @property
    def num_classes(self) -> int:
        """Return K."""
        return self.scores.num_classes

    def logits(self, chosen: Chosen = ALL) -> torch.Tensor:
        """Return the scores of some positions, [C, K], which are read only."""
        if not isinstance(chosen, slice):
            return self.scores.logits(chosen)
        bounds = chosen.indices(self.num_positions)
        if bounds not in self._made:
            self._made[bounds] = self.scores.logits(chosen)
        return self._made[bounds]

    def first(self, num_classes: int) -> Scores:
        """Return the scores of the first classes only, which are not remembered."""
        return self.scores.first(num_classes)


def remembered(scores: Scores, *, most: int) -> Scores:
    """Return what makes scores once, where they cost a product and take so many bytes at most."""
    if not isinstance(scores, ProjectedScores):
        return scores
    num_bytes = 4 * scores.num_positions * scores.num_classes
    return RememberedScores(scores=scores) if num_bytes <= most else scores


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
