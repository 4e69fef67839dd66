"""Masks: a function of seed, row, epoch and position, and of nothing else."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.batch import IntArray, Rows
from raykd.config.schema.data import MaskingConfig
from raykd.tasks.masked_lm import mask_tokens, maskable_vocabulary

from tests.unit.tasks.rows import rows_of

VOCAB_SIZE = 200
MASK = 3
SPECIAL = (0, 1, 2, 4, 150)
UNTOUCHABLE = {MASK, *SPECIAL}
VOCABULARY = maskable_vocabulary(vocab_size=VOCAB_SIZE, mask_id=MASK, special_ids=SPECIAL)
HALF = MaskingConfig(fraction=0.5)


def masked(
    rows: Rows, *, masking: MaskingConfig = HALF, seed: int = 0
) -> tuple[IntArray, IntArray]:
    return mask_tokens(rows, vocabulary=VOCABULARY, masking=masking, seed=seed)


def masks_by_row(rows: Rows, *, seed: int = 0) -> dict[int, tuple[list[int], list[int]]]:
    """Return each row's masked tokens and scored places."""
    input_ids_T, scored_P = masked(rows, seed=seed)
    ends = np.cumsum(rows.lengths_B)
    return {
        int(row_id): (
            input_ids_T[start:end].tolist(),
            (scored_P[(start <= scored_P) & (scored_P < end)] - start).tolist(),
        )
        for row_id, start, end in zip(rows.row_ids_B, ends - rows.lengths_B, ends, strict=True)
    }


def text_rows(num_rows: int, *, length: int, epoch: int = 0) -> Rows:
    tokens = np.random.default_rng(0).choice(VOCABULARY.text_ids, size=(num_rows, length))
    return rows_of(tokens.tolist(), epoch=epoch)


tokens_of_rows = st.lists(
    st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=12), min_size=1, max_size=8
)


@given(tokens=tokens_of_rows, data=st.data())
def test_a_row_is_masked_alike_in_any_batch(tokens: list[list[int]], data: st.DataObject) -> None:
    row_ids = data.draw(
        st.lists(st.integers(0, 2**62), min_size=len(tokens), max_size=len(tokens), unique=True)
    )
    together = masks_by_row(rows_of(tokens, row_ids=row_ids))
    for index in data.draw(st.permutations(range(len(tokens)))):
        alone = masks_by_row(rows_of([tokens[index]], row_ids=[row_ids[index]]))
        assert together[row_ids[index]] == alone[row_ids[index]]


def test_what_is_scored_does_not_depend_on_the_tokens() -> None:
    _, first_P = masked(rows_of([[5] * 300]))
    _, second_P = masked(rows_of([[6] * 200]))
    assert first_P[first_P < 200].tolist() == second_P.tolist()


@given(
    tokens=tokens_of_rows, seed=st.integers(0, 2**31 - 1), fraction=st.sampled_from([0.15, 1.0])
)
def test_special_tokens_are_neither_scored_nor_shown_instead(
    tokens: list[list[int]], seed: int, fraction: float
) -> None:
    rows = rows_of(tokens)
    config = MaskingConfig(fraction=fraction, mask_fraction=0.0, random_fraction=1.0)
    input_ids_T, scored_P = masked(rows, masking=config, seed=seed)
    assert UNTOUCHABLE.isdisjoint(rows.token_ids_T[scored_P].tolist())
    assert UNTOUCHABLE.isdisjoint(input_ids_T[scored_P].tolist())
    unscored_T = np.delete(np.arange(len(input_ids_T)), scored_P)
    assert (input_ids_T[unscored_T] == rows.token_ids_T[unscored_T]).all()
    if fraction == 1:
        assert len(scored_P) == sum(token not in UNTOUCHABLE for row in tokens for token in row)


def test_another_row_epoch_or_seed_is_another_mask() -> None:
    rows = text_rows(2, length=200)
    reference = masks_by_row(rows)
    changes = {
        "row": reference[1],
        "epoch": masks_by_row(text_rows(2, length=200, epoch=1))[0],
        "seed": masks_by_row(rows, seed=1)[0],
    }
    shared = {
        name: len({*scored} & {*reference[0][1]}) / 200 for name, (_, scored) in changes.items()
    }
    # Independent draws of one half share a quarter; 0.12 is four standard deviations.
    assert shared == {name: pytest.approx(0.25, abs=0.12) for name in changes}


def test_row_and_epoch_do_not_stand_in_for_each_other() -> None:
    row_1_epoch_0 = masks_by_row(rows_of([[5] * 64], row_ids=[1], epoch=0))[1]
    row_0_epoch_1 = masks_by_row(rows_of([[5] * 64], row_ids=[0], epoch=1))[0]
    assert row_1_epoch_0 != row_0_epoch_1


@pytest.mark.parametrize("seed", [0, 17, 2**31 - 1])
def test_shares_are_those_of_the_configuration(seed: int) -> None:
    rows = text_rows(800, length=125)
    config = MaskingConfig(fraction=0.15, mask_fraction=0.7, random_fraction=0.2)
    input_ids_T, scored_P = masked(rows, masking=config, seed=seed)
    shown_P, true_P = input_ids_T[scored_P], rows.token_ids_T[scored_P]
    is_masked_P, is_kept_P = shown_P == MASK, shown_P == true_P
    # A random id is the true one by chance in one of len(text_ids) cases.
    by_chance = 0.2 / len(VOCABULARY.text_ids)
    # Bounds of five standard deviations of 1e5 tokens and of 1.5e4 scored ones.
    assert len(scored_P) / 1e5 == pytest.approx(0.15, abs=0.006)
    assert is_masked_P.mean() == pytest.approx(0.7, abs=0.02)
    assert is_kept_P.mean() == pytest.approx(0.1 + by_chance, abs=0.013)


def test_random_tokens_are_uniform_over_the_text() -> None:
    rows = text_rows(800, length=125)
    config = MaskingConfig(fraction=1.0, mask_fraction=0.0, random_fraction=1.0)
    shown_T, _ = masked(rows, masking=config)
    counts_V = np.bincount(shown_T, minlength=VOCAB_SIZE)[VOCABULARY.text_ids]
    expected = len(shown_T) / len(VOCABULARY.text_ids)
    chi_squared = ((counts_V - expected) ** 2 / expected).sum()
    # 193 degrees of freedom: mean 193, standard deviation 19.6.
    assert 193 - 5 * 19.6 < chi_squared < 193 + 5 * 19.6


def test_neighbouring_rows_and_places_are_scored_independently() -> None:
    _, scored_P = masked(text_rows(800, length=125))
    is_scored_T = np.zeros(100_000)
    is_scored_T[scored_P] = 1
    grid = is_scored_T.reshape(800, 125) - is_scored_T.mean()
    across_places = (grid[:, 1:] * grid[:, :-1]).mean()
    across_rows = (grid[1:] * grid[:-1]).mean()
    # The product of two independent centred halves has a standard deviation of 0.25.
    assert abs(across_places) < 5 * 0.25 / np.sqrt(1e5)
    assert abs(across_rows) < 5 * 0.25 / np.sqrt(1e5)


def test_masks_stay_as_they_are() -> None:
    # Numbers of a pure Python splitmix64: cached teacher outputs rely on them.
    input_ids_T, scored_P = masked(rows_of([range(5, 25)], row_ids=[12345], epoch=2), seed=17)
    assert scored_P.tolist() == [0, 1, 7, 12, 13, 15, 16]
    assert input_ids_T[scored_P].tolist() == [85, 52, 128, 17, MASK, MASK, MASK]


def test_the_rows_themselves_are_left_alone() -> None:
    rows = text_rows(2, length=50)
    before = dataclasses.replace(rows, token_ids_T=rows.token_ids_T.copy())
    masked(rows)
    assert (rows.token_ids_T == before.token_ids_T).all()


def test_masks_come_again_after_so_many_epochs() -> None:
    masking = MaskingConfig(fraction=0.5, num_variants=2)
    shown = [masked(rows_of([[*range(5, 45)]], epoch=e), masking=masking)[0] for e in range(4)]
    assert shown[0].tolist() == shown[2].tolist() != shown[1].tolist() == shown[3].tolist()
