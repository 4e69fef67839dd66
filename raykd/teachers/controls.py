"""Teachers that control for what a teacher knows: one without knowledge, and one that is wrong."""

from dataclasses import replace

import numpy as np
import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.scores import DenseScores
from raykd.teachers.live import Teacher


class UnigramTeacher:
    """Says the same at every position, whatever the text."""

    def __init__(self, log_probs_K: torch.Tensor) -> None:
        """Take the logarithm of the probability of each class, on the device of the batches."""
        self._log_probs_K = log_probs_K

    def __call__(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return its scores at the scored positions.

        Raises:
            ValueError: Layers are wanted, which it does not have.
        """
        if wanted != LayersWanted():
            message = "layers are wanted of a unigram"
            raise ValueError(message)
        num_positions = len(batch.positions_P)
        return ModelOutputs(
            hidden_PD=self._log_probs_K.new_zeros(num_positions, 0),
            # A view: the scores of a vocabulary are in memory once, not for each position.
            scores=DenseScores(logits_PK=self._log_probs_K.expand(num_positions, -1)),
        )


class PermutedTeacher:
    """Says of each class what another teacher says of another class."""

    def __init__(self, teacher: Teacher, order_K: torch.Tensor) -> None:
        """Change nothing of the teacher itself.

        Args:
            teacher: Scores classes in the data's order, few enough to be held for all positions.
            order_K: The teacher's class of each class of the data, on the device of the batches.
        """
        self.teacher = teacher
        self._order_K = order_K

    def __call__(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return the teacher's scores under other classes, and the layers wanted as they are."""
        outputs = self.teacher(batch, wanted)
        permuted_PK = outputs.logits_PK[:, self._order_K]
        return replace(outputs, scores=DenseScores(logits_PK=permuted_PK))


def derangement(num_classes: int, *, seed: int) -> torch.Tensor:
    """Return another class for each class, int64, shape [K]: a random cycle through all."""
    cycle_K = np.random.default_rng(seed).permutation(num_classes)
    order_K = np.empty_like(cycle_K)
    order_K[cycle_K] = np.roll(cycle_K, -1)
    return torch.from_numpy(order_K)
