"""From the name of a task to the task: what each needs, and what is said when it lacks."""

from dataclasses import dataclass
from typing import get_args

import pytest
from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import TaskName
from raykd.errors import ConfigError
from raykd.tasks.build import build_task
from raykd.tasks.task import Task

from tests.unit.tasks.rows import rows_of

PAD, CLS, MASK = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    vocab_size: int = 12
    pad_id: int = PAD
    mask_id: int | None = MASK
    special_ids: tuple[int, ...] = (CLS,)


def built(
    name: TaskName,
    *,
    tokenizer: Tokenizer = Tokenizer(),
    labels: tuple[str, ...] | None = ("no", "yes"),
) -> Task:
    masking = MaskingConfig(fraction=1.0, mask_fraction=0.0, random_fraction=1.0)
    return build_task(
        name, tokenizer=tokenizer, labels=labels, masking=masking, seed=0, summary="last"
    )


@pytest.mark.parametrize("name", get_args(TaskName))
def test_every_name_in_the_schema_is_a_task(name: TaskName) -> None:
    task = built(name)
    scores_classes = name.endswith("_classification")
    assert task.name == name
    assert task.num_classes == (2 if scores_classes else 12)
    assert task.class_names == (("no", "yes") if scores_classes else None)
    assert task.collate(rows_of([])).input_ids_BL.tolist() == [[PAD]]


def test_padding_and_special_tokens_are_never_masked() -> None:
    tokens = [PAD, CLS, MASK, *range(3, 12)] * 20
    batch = built("masked_lm").collate(rows_of([tokens]))
    assert {*batch.labels_P.tolist()} == {*batch.input_ids_BL[0, batch.positions_P].tolist()}
    assert {*batch.labels_P.tolist()} == {*range(3, 12)}


def test_the_summary_token_reaches_sequence_classification() -> None:
    batch = built("sequence_classification").collate(rows_of([[1, 5, 6]], labels=[0]))
    assert batch.positions_P.tolist() == [2]


def test_masking_needs_a_mask_token() -> None:
    with pytest.raises(ConfigError, match="task=masked_lm: the data's tokenizer has no mask"):
        built("masked_lm", tokenizer=Tokenizer(mask_id=None))
    assert built("causal_lm", tokenizer=Tokenizer(mask_id=None)).num_classes == 12


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("sequence_classification", None),
        ("token_classification", None),
        ("token_classification", NUMBER),
    ],
)
def test_classification_needs_labels(name: TaskName, labels: tuple[str, ...] | None) -> None:
    with pytest.raises(ConfigError, match=f"task={name}: the data has no labels"):
        built(name, labels=labels)
