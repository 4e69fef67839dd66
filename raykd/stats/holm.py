"""Many tests at once."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for being many, in their order (Holm, 1979).

    Below 0.05 they have, together, a chance of at most 5 % that any is there by accident,
    however they depend on one another.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        # The running maximum keeps the order of the p values: a larger one is never significant
        # where a smaller one is not.
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
