"""Masked-language modelling: hidden tokens are scored and the labels are the true ones."""

from raykd.config.schema.data import MaskingConfig
from raykd.tasks.masked_lm import MaskedLM, maskable_vocabulary

from tests.unit.tasks.rows import rows_of

CLS, SEP, MASK, PAD = 0, 1, 2, 3
TASK = MaskedLM(
    vocabulary=maskable_vocabulary(vocab_size=30, mask_id=MASK, special_ids=(PAD, CLS, SEP)),
    masking=MaskingConfig(fraction=1.0, mask_fraction=1.0, random_fraction=0.0),
    seed=0,
    pad_id=PAD,
)


def test_hidden_tokens_are_scored_with_the_true_tokens_as_labels() -> None:
    batch = TASK.collate(rows_of([[CLS, 7, 8, SEP], [CLS, 9, SEP]]))
    assert batch.input_ids_BL.tolist() == [[CLS, MASK, MASK, SEP], [CLS, MASK, SEP, PAD]]
    assert batch.positions_P.tolist() == [1, 2, 5]
    assert batch.labels_P.tolist() == [7, 8, 9]


def test_a_row_of_special_tokens_has_nothing_to_score() -> None:
    batch = TASK.collate(rows_of([[CLS, SEP]]))
    assert batch.positions_P.tolist() == []
    assert batch.input_ids_BL.tolist() == [[CLS, SEP]]


def test_no_rows_are_an_idle_batch() -> None:
    assert TASK.collate(rows_of([])).input_ids_BL.tolist() == [[PAD]]


def test_the_vocabulary_is_what_is_scored() -> None:
    assert (TASK.num_classes, TASK.class_names) == (30, None)
