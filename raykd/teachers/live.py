"""A teacher that runs beside the student, in the same process."""

from collections.abc import Callable

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.models.scored import ScoredModel

Teacher = Callable[[Batch, LayersWanted], ModelOutputs]
"""From a batch to what a model says about it, without gradient."""


class LiveTeacher:
    """A frozen model: in evaluation mode, without gradient, out of the optimizer's reach.

    It is not a ``torch.nn.Module``, so that no module that holds it counts its weights
    among its own, broadcasts, trains or saves them.
    """

    def __init__(self, model: ScoredModel) -> None:
        self.model = model.eval().requires_grad_(requires_grad=False)

    def __call__(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return the teacher's scores at the scored positions, and the layers wanted."""
        with torch.no_grad():
            outputs: ModelOutputs = self.model(batch, wanted)
        return outputs
