"""A teacher whose outputs were computed before: it is read, not run."""

import numpy as np
import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.teachers.cache.hashing import row_checks
from raykd.teachers.cache.payload import Values
from raykd.teachers.cache.reading import OpenedCache
from raykd.teachers.live import Teacher


class CachedTeacher:
    """Says about any batch of the rows of a cache what its teacher said when it was built.

    Where the insides of layers are wanted, which no cache keeps, the teacher itself is asked.
    """

    def __init__(
        self, cache: OpenedCache, *, device: torch.device, live: Teacher | None = None
    ) -> None:
        """Read nothing yet.

        Args:
            cache: As long as it is open.
            device: Of the batches.
            live: The teacher itself, where a loss compares its layers.
        """
        self._cache = cache
        self._device = device
        self._encoding = cache.encoding.on(device)
        self._live = live

    def __call__(
        self,
        batch: Batch,
        wanted: LayersWanted = LayersWanted(),  # noqa: B008  frozen
    ) -> ModelOutputs:
        """Return the teacher's scores at the scored positions, and the layers wanted.

        Raises:
            PublicationError: A row is not in the cache, was masked otherwise, or is torn.
            ValueError: Layers are wanted, and the teacher itself is not there.
        """
        if wanted != LayersWanted():
            if self._live is None:
                message = "layers of a teacher are wanted of which only the scores are kept"
                raise ValueError(message)
            return self._live(batch, wanted)
        scores = self._encoding.decode(self._columns(batch), self._device)
        # Hidden states are not kept: no columns stand for them.
        nothing_PD = torch.zeros(scores.num_positions, 0, device=self._device)
        return ModelOutputs(hidden_PD=nothing_PD, scores=scores)

    def fetch(self, batch: Batch) -> None:
        """Bring here what the cache has of a batch, so that asking about it waits for no store.

        Raises:
            PublicationError: A file of the cache is gone or torn.
        """
        asked = batch.on_host
        self._cache.fetch(
            asked.row_ids_B.numpy(),
            languages_B=asked.languages_B.numpy(),
            epochs_B=asked.epochs_B.numpy(),
        )

    def _columns(self, batch: Batch) -> dict[str, Values]:
        """Return the columns of all rows together."""
        if not len(batch.positions_P):
            # Also of a worker without rows, whose one row there is not.
            return self._cache.no_columns
        # On the CPU: nothing that is read waits for the device.
        asked = batch.on_host
        rows = self._cache.read(
            asked.row_ids_B.numpy(),
            row_checks(asked),
            languages_B=asked.languages_B.numpy(),
            epochs_B=asked.epochs_B.numpy(),
        )
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
