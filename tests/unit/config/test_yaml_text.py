"""YAML is read as people mean it, and what is written is read back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.config.yaml_text import read_yaml, write_yaml

# Not control characters: ruamel.yaml folds a NEL, which no configuration holds, into a space.
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | texts
    | st.sampled_from(
        ["no", "on", "1e-3", "0x1f", "1_000", "2024-01-01", "null", "~", "", "=", "1:2"]
    )
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("no", "no"), ("yes", "yes"), ("on", "on"), ("true", True), ("false", False)],
        *[
            ("3", 3),
            ("-3", -3),
            ("20_000", 20_000),
            ("1:30", "1:30"),
        ],
        *[("1e-4", 1e-4), ("2E3", 2e3), (".5", 0.5), ("1.", 1.0), ("-.inf", -math.inf)],
        *[("null", None), ("~", None), ("", None), ("None", "None"), ("'3'", "3")],
        *[("2024-01-01", "2024-01-01"), ("4 -> 1", "4 -> 1"), ("s3://a/b", "s3://a/b")],
        *[("[no, en]", ["no", "en"]), ("{a: {b: 1}}", {"a": {"b": 1}}), ("{1: x}", {"1": "x"})],
    ],
)
def test_plain_words_are_what_they_look_like(text: str, value: object) -> None:
    found = read_yaml(text)
    assert (found, type(found)) == (value, type(value))


@given(value=documents)
def test_what_is_written_reads_back(value: object) -> None:
    assert read_yaml(write_yaml(value)) == value


def test_aliases_are_copies() -> None:
    value = read_yaml("a: &x {k: 1}\nb: *x")
    value["a"]["k"] = 2
    assert value["b"] == {"k": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\nb: 2\na: 3", r'line 3, column 1: found duplicate key "a"'),
        ("x: [{a: 1, a: 2}]", r'line 1, column 12: found duplicate key "a"'),
        ("a: [1,\nb: 2", r"line 2, column 5: expected ',' or '\]'"),
        ("a: *b", r"line 1, column 4: found undefined alias 'b'"),
        ("&a [*a]", "Circular reference"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("!!bool x", "x"),
        ("a: 1\n---\nb: 2", "but found another document"),
        ("\x00", "special characters are not allowed"),
        ("[" * 1_000, "recursion"),
        ("9" * 5_000, "digits"),
    ],
    ids=range(11),
)
def test_what_is_no_configuration_is_refused_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_yaml(text)
