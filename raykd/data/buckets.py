"""Rows of like length in one step, so that little is padded: the same at any number of workers.

The steps of a bucket exchange rows within each lane, and each keeps its number of rows of every
lane: a worker needs no other worker's rows to know its own.
"""

import numpy as np

from raykd.batch import IntArray


def steps_by_length(
    lengths_B: IntArray, *, lanes_B: IntArray, steps_B: IntArray, order: IntArray
) -> IntArray:
    """Return the step of each row of a bucket when its steps have exchanged rows.

    Args:
        lengths_B: Tokens of each row.
        lanes_B: The lane that each row comes from.
        steps_B: The step that reads each row, counted within the bucket.
        order: The steps, from the one that gets the shortest rows to that of the longest.
    """
    rank = np.argsort(order)
    places = np.lexsort((rank[steps_B], lanes_B))
    exchanged_B = np.empty_like(steps_B)
    exchanged_B[np.lexsort((lengths_B, lanes_B))] = steps_B[places]
    return exchanged_B


def bucket_order(num_steps: int, *, seed: int, bucket: int) -> IntArray:
    """Draw which step of a bucket gets the shortest rows, and so on to the longest."""
    return np.random.default_rng((seed, 2, bucket)).permutation(num_steps)
