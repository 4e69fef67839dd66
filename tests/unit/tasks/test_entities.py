"""Entities: counts equal to those of seqeval."""

import itertools
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.tasks.entities import are_entity_labels, count_entities, why_no_entities
from seqeval.metrics import f1_score
from seqeval.metrics.sequence_labeling import get_entities

IOB = ("O", "B-PER", "I-PER", "B-LOC-X", "I-LOC-X")
IOBES = ("E-PER", "I-PER", "O", "S-PER", "B-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC")

Tags = list[list[int]]


def counts(predicted: Tags, true: Tags, names: tuple[str, ...]) -> tuple[int, int, int]:
    def flat(tags: Tags) -> torch.Tensor:
        return torch.tensor([*itertools.chain(*tags)], dtype=torch.int64)

    found = count_entities(
        flat(predicted),
        flat(true),
        examples_P=flat([[row] * len(tags) for row, tags in enumerate(true)]),
        class_names=names,
    )
    sums = [each.sum().item() for each in (found.right_P, found.predicted_P, found.true_P)]
    return int(sums[0]), int(sums[1]), int(sums[2])


@st.composite
def tagged_rows(draw: st.DrawFn, num_classes: int) -> tuple[Tags, Tags]:
    lengths = draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    tag = st.integers(0, num_classes - 1)
    true = [draw(st.lists(tag, min_size=n, max_size=n)) for n in lengths]
    # Mostly right, so that whole entities agree.
    predicted = [[draw(st.one_of(st.just(t), st.just(t), tag)) for t in row] for row in true]
    return predicted, true


@pytest.mark.parametrize("names", [IOB, IOBES], ids=["IOB", "IOBES"])
@given(data=st.data())
@settings(deadline=None, max_examples=150)
def test_counts_equal_those_of_seqeval(names: tuple[str, ...], data: st.DataObject) -> None:
    predicted, true = data.draw(tagged_rows(len(names)))
    predicted_names, true_names = (
        [[names[tag] for tag in row] for row in tags] for tags in (predicted, true)
    )
    predicted_entities = {*get_entities(predicted_names)}
    true_entities = {*get_entities(true_names)}
    right, num_predicted, num_true = counts(predicted, true, names)
    assert (right, num_predicted, num_true) == (
        len(predicted_entities & true_entities),
        len(predicted_entities),
        len(true_entities),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval's, where there is no entity at all
        expected = f1_score(true_names, predicted_names)
    assert 2 * right / max(num_predicted + num_true, 1) == pytest.approx(expected)


def test_an_entity_ends_with_its_row() -> None:
    b_per, i_per = 1, 2
    assert counts([[b_per, i_per], [i_per]], [[b_per, i_per], [i_per]], IOB) == (2, 2, 2)
    assert counts([[b_per, i_per, i_per]], [[b_per, i_per, i_per]], IOB) == (1, 1, 1)


def test_an_entity_that_is_too_long_is_wrong() -> None:
    outside, b_per, i_per = 0, 1, 2
    assert counts([[b_per, i_per, outside]], [[b_per, outside, outside]], IOB) == (0, 1, 1)


def test_no_words_hold_no_entities() -> None:
    assert counts([], [], IOB) == (0, 0, 0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (IOB, True),
        (IOBES, True),
        (("B-X", "I-X"), True),
        (("NOUN", "VERB", "O"), False),
        (("B", "I", "O"), False),
        (("O",), False),
        ((), False),
    ],
)
def test_entity_labels_are_told_from_others(names: tuple[str, ...], expected: bool) -> None:
    assert are_entity_labels(names) == expected


def test_a_class_outside_the_scheme_is_named_as_the_reason() -> None:
    assert why_no_entities(("O", "B-X", "I-X")) is None
    assert why_no_entities(("B-X", "MISC", "O")) == (
        "no entity F1: class 'MISC' is not O, and begins with none of B-, I-, E-, S-"
    )
    assert why_no_entities(("O",)) == "no entity F1: no class begins with B-, I-, E- or S-"
