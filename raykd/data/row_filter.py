"""Which rows of a shard are kept: a question to each row alone, whoever asks, in any order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.splitmix import GOLDEN, mixed

RowNumbers = npt.NDArray[np.uint64]
RowClasses = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFilter:
    """Keeps the rows of one language whose number is not beyond the last one of their class."""

    seed: int
    last_numbers: tuple[int, ...]
    """The largest number kept of each class, and of rows without a class in the end."""

    def mask(self, batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Return whether each row of a record batch, with its ids and labels, is kept."""
        last_numbers = np.array(self.last_numbers, dtype=np.uint64)
        classes_B = row_classes(batch, num_classes=len(last_numbers) - 1)
        return row_numbers(batch, seed=self.seed) <= last_numbers[classes_B]


def row_numbers(batch: pa.RecordBatch, *, seed: int) -> RowNumbers:
    """Return a number of each row that its id decides; no two ids of a data set share one.

    It is the one at the place of the id in the sequence of splitmix64.
    """
    start = mixed(np.array([seed], dtype=np.uint64) + GOLDEN)
    return mixed(start + batch["row_id"].to_numpy().astype(np.uint64) * GOLDEN)


def row_classes(batch: pa.RecordBatch, *, num_classes: int) -> RowClasses:
    """Return the class of each row; where it has none, the number of classes.

    Labels are not checked here: one beyond the classes counts as the last of them.
    """
    # The smallest type: those of all rows of a language are held at once.
    smallest = np.min_scalar_type(num_classes)
    if num_classes == 0:
        return np.zeros(batch.num_rows, dtype=smallest)
    labels_B = batch["label"].to_numpy()
    classes_B = np.where(labels_B < 0, num_classes, np.minimum(labels_B, num_classes - 1))
    return classes_B.astype(smallest)
