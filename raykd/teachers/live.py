"""A teacher that runs beside the student, in the same process."""

import torch

from raykd.batch import Batch
from raykd.models.scored import ScoredModel
from raykd.teachers.signal import DenseSignal


class LiveTeacher:
    """A frozen model: in evaluation mode, without gradient, out of the optimizer's reach.

    It is not a ``torch.nn.Module``, so that no module that holds it counts its weights
    among its own, broadcasts, trains or saves them.
    """

    def __init__(self, model: ScoredModel) -> None:
        self.model = model.eval().requires_grad_(requires_grad=False)

    def __call__(self, batch: Batch) -> DenseSignal:
        """Return the teacher's scores at the scored positions."""
        with torch.no_grad():
            return DenseSignal(logits_PK=self.model(batch).logits_PK)
