"""What the workers of a step tell is added up, and what one says of no number reaches all."""

import math

import pytest
import torch
from raykd.distill.exchange import Exchanged, counted_by_all, read, told
from raykd.distill.world import World


def test_one_worker_hears_what_it_has_told() -> None:
    values_N = torch.tensor([0.75, 0.5, 0.25, 3.0], dtype=torch.float64)
    counted = (2**40 + 1, 7)
    assert read(told(values_N, counted, (2, 0), World()), num_terms=2) == Exchanged(
        loss=0.75, terms=[0.5, 0.25], grad_norm=3.0, counted=counted, flags=(2, 0)
    )
    assert counted_by_all(counted, World()) == counted


def test_losses_and_counts_are_sums_and_flags_the_largest() -> None:
    # A row of each worker: loss, its one term, the norm that all have, counts, two flags.
    rows_WN = torch.tensor(
        [[0.5, 0.25, 9.0, 3, 30, 0, 1], [0.25, 0.125, 9.0, 4, 40, 2, 0]], dtype=torch.float64
    )
    assert read(rows_WN, num_terms=1) == Exchanged(
        loss=0.75, terms=[0.375], grad_norm=9.0, counted=(7, 70), flags=(2, 1)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_none_for_all(bad: float) -> None:
    rows_WN = torch.tensor([[1.0, 9.0, 3, 30], [bad, 9.0, 4, 40]], dtype=torch.float64)
    heard = read(rows_WN, num_terms=0)
    assert not math.isfinite(heard.loss)
    assert heard.counted == (7, 70)
