"""What is written is JSON to every parser, whatever the numbers and the names are."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from raykd import strict_json


@dataclass(frozen=True)
class _Inner:
    losses: tuple[float, ...]


@dataclass(frozen=True)
class _Outer:
    inner: _Inner
    names: dict[str, float]


def _parsed(text: str | bytes) -> Any:
    def refuse(name: str) -> float:
        pytest.fail(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_null_at_any_depth(value: float) -> None:
    outer = _Outer(inner=_Inner(losses=(1.5, value)), names={"a": value, "b": 2.0})
    expected = {"inner": {"losses": [1.5, None]}, "names": {"a": None, "b": 2.0}}
    assert _parsed(strict_json.text(outer)) == expected
    assert _parsed(strict_json.file_content([outer])) == [expected]


def test_null_is_read_back_as_no_number() -> None:
    found = strict_json.numbers(_parsed(strict_json.text({"a": math.inf, "b": 0.0})))
    assert math.isnan(found["a"])
    assert found["b"] == 0.0


def test_files_keep_scripts_and_escape_what_is_no_text() -> None:
    names = ["gr\u00f6\u00dfe", "caf\udce9"]
    assert "gr\u00f6\u00dfe".encode() in strict_json.file_content(names)
    assert _parsed(strict_json.file_content(names)) == names
    assert strict_json.text(names).isascii()


def test_a_value_that_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        strict_json.text({1, 2})
