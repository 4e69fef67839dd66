"""What a teacher was asked, as one number for each row: whoever reads the answer asks the same."""

import numpy as np
import numpy.typing as npt

from raykd.batch import Batch
from raykd.splitmix import GOLDEN, mixed
from raykd.teachers.cache.payload import Keys

Checks = npt.NDArray[np.uint64]


def row_checks(batch: Batch) -> Checks:
    """Return a hash of each row's tokens, masked as the models read them, and of its labels.

    The batch is on the CPU. A hash is alike in any batch: padding does not count. Nor do the
    places of the labels, but for their order: two models may look at different tokens of the same
    example.
    """
    ids_BL = batch.input_ids_BL.numpy().astype(np.uint64)
    places_L = np.arange(1, ids_BL.shape[1] + 1, dtype=np.uint64) * GOLDEN
    hashes_BL = mixed(ids_BL + places_L) * batch.is_token_BL.numpy()
    # A sum, which wraps: padding adds 0, and places are in the summands, so order counts.
    checks_B: Checks = hashes_BL.sum(axis=1, dtype=np.uint64)
    labels_P = batch.labels_P.numpy().astype(np.uint64)
    examples_P = batch.examples_P.numpy()
    labelled_P = mixed(labels_P ^ ((ranks(examples_P) + np.uint64(1)) * GOLDEN))
    # Not ``+=``, which adds once where a row has several positions.
    np.add.at(checks_B, examples_P, mixed(labelled_P))
    return checks_B


def position_keys(checks_B: Checks, examples_P: npt.NDArray[np.int64]) -> Keys:
    """Return a key of each scored position that is alike in any batch."""
    return mixed(checks_B[examples_P]) + (ranks(examples_P) + np.uint64(1)) * GOLDEN


def ranks(examples_P: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return how many scored positions of the same row stand before each."""
    starts = np.searchsorted(examples_P, examples_P)
    return (np.arange(len(examples_P)) - starts).astype(np.uint64)
