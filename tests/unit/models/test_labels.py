"""Classes are matched by name; nothing is guessed but the order of names that say nothing."""

import pytest
from raykd.config.schema.prepare import NUMBER
from raykd.errors import ModelError
from raykd.models.build import class_fields
from raykd.models.labels import assumed_order, class_order, label_list
from transformers import BertConfig

LABELS = ("contradiction", "entailment", "neutral")


def config_with(*labels: str) -> BertConfig:
    return BertConfig(**class_fields(labels))


def test_names_are_in_the_models_order() -> None:
    assert label_list(config_with("neutral", "entailment")) == ("neutral", "entailment")


def test_the_same_order_needs_no_permutation() -> None:
    assert class_order(config_with(*LABELS), LABELS, where="x") is None


def test_another_order_gives_the_models_class_of_each_class_of_the_data() -> None:
    config = config_with("entailment", "neutral", "contradiction")
    assert class_order(config, LABELS, where="x") == (2, 0, 1)


def test_names_by_default_are_in_the_datas_order() -> None:
    assert class_order(BertConfig(num_labels=3), LABELS, where="x") is None
    with pytest.raises(ModelError, match=r"x: scores the classes \['LABEL_0', 'LABEL_1'\]"):
        class_order(BertConfig(num_labels=2), LABELS, where="x")


@pytest.mark.parametrize(
    "names",
    [
        ("contradiction", "entailment"),
        ("contradiction", "entailment", "other"),
        ("contradiction", "entailment", "entailment"),
        (*LABELS, "other"),
    ],
)
def test_other_classes_are_refused_with_both_lists(names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError) as caught:
        class_order(config_with(*names), LABELS, where="teachers.a")
    assert str(caught.value).startswith(f"teachers.a: scores the classes {list(names)}")
    assert f"but the data has the classes {list(LABELS)}" in str(caught.value)


def test_one_score_is_a_number_unless_the_model_says_otherwise() -> None:
    for config in (config_with(), BertConfig(num_labels=1)):
        assert label_list(config) == NUMBER
        assert class_order(config, NUMBER, where="x") is None
        assert assumed_order(config, NUMBER, where="x") is None
    assert config_with().problem_type == "regression"
    assert config_with().num_labels == 1
    several = BertConfig(num_labels=1, problem_type="multi_label_classification")
    assert label_list(several) == ("LABEL_0",)
    # A task of several numbers is none of raykd's: its names are compared as classes.
    assert label_list(BertConfig(num_labels=2, problem_type="regression")) != NUMBER


def test_a_number_is_no_class() -> None:
    with pytest.raises(ModelError, match=r"x: scores a number .*, but the data has the classes"):
        class_order(config_with(), LABELS, where="x")
    with pytest.raises(ModelError, match=r"x: scores the classes .*, but the data has a number"):
        class_order(config_with(*LABELS), NUMBER, where="x")


def test_an_assumed_order_is_said_in_one_line() -> None:
    said = assumed_order(BertConfig(num_labels=3), LABELS, where="teachers.a")
    assert said is not None
    assert said.startswith("teachers.a: its classes have no names, and are taken to be in this")
    assert "LABEL_0 is contradiction, LABEL_1 is entailment, LABEL_2 is neutral;" in said
    many = assumed_order(BertConfig(num_labels=9), tuple("abcdefghi"), where="x")
    assert many is not None
    assert "LABEL_3 is d, ...;" in many


def test_nothing_is_assumed_of_names() -> None:
    assert assumed_order(config_with("neutral", "entailment"), LABELS, where="x") is None
    assert assumed_order(BertConfig(num_labels=2), LABELS, where="x") is None
    unnamed = ("LABEL_0", "LABEL_1")
    assert assumed_order(BertConfig(num_labels=2), unnamed, where="x") is None
