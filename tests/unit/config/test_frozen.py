"""Parts that are not trained are written in one way."""

import pytest
from raykd.config.frozen import NOTHING, parse_frozen
from raykd.errors import ConfigError

from tests.unit.config.test_problems import run_with


def test_layers_below_a_number_are_the_first_ones() -> None:
    frozen = parse_frozen(["layers below 2", "layers below 1"])
    assert [frozen.covers("encoder", layer=n) for n in (0, 1, 2, None)] == [
        True,
        True,
        False,
        False,
    ]
    assert not frozen.covers("embeddings", layer=None)
    assert parse_frozen([]) == NOTHING


def test_the_encoder_is_everything_but_the_head() -> None:
    frozen = parse_frozen(["encoder"])
    assert frozen.covers("embeddings", layer=None)
    assert frozen.covers("encoder", layer=None)
    assert frozen.covers("encoder", layer=7)
    assert not frozen.covers("head", layer=None)


@pytest.mark.parametrize(
    "name", ["layers", "layers below 0", "layers below -1", "layer 3", "Head"]
)
def test_another_word_is_refused(name: str) -> None:
    expected = f"student.freeze: '{name}' is no part of a model: write embeddings, encoder, head"
    with pytest.raises(ConfigError, match=expected):
        run_with(f"student.freeze=[embeddings, {name}]")


def test_a_student_of_which_nothing_is_trained_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"student\.freeze names encoder and head: nothing is left"
    ):
        run_with("student.freeze=[head, layers below 1, encoder]")
