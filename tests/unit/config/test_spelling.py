"""What files spell otherwise than the fields of the schema: ranges of seeds, and with."""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
from raykd.config.load import as_yaml, checked_sweep, load_sweep, plain
from raykd.config.yaml_text import write_yaml
from raykd.errors import ConfigError

from tests.unit.config.conftest import MINIMAL

QUESTIONS: dict[str, Any] = {
    "copying": {
        "compare": {"start": "tuned"},
        "with": {"start": "random"},
        "against": {"compare": {"start": "base"}, "with": 0.5},
    },
    "trend": {"trend": {"over": "x", "order": [1, 2, 3], "with": {"start": "random"}}},
}


def write(path: Path, **given: Any) -> Path:
    path.write_text(MINIMAL + write_yaml({"questions": QUESTIONS, **given}))
    return path


def test_a_range_of_seeds_is_the_least_and_what_may_follow(path: Path) -> None:
    sweep = load_sweep(write(path, seeds={"at_least": 3, "at_most": 6}))
    assert (sweep.seeds, sweep.more_seeds) == ((1, 2, 3), (4, 5, 6))


def test_a_range_of_one_number_leaves_nothing_to_follow(path: Path) -> None:
    sweep = load_sweep(write(path, seeds={"at_least": 3, "at_most": 3}))
    assert (sweep.seeds, sweep.more_seeds) == ((1, 2, 3), ())


def test_a_range_is_given_on_the_command_line(path: Path) -> None:
    sweep = load_sweep(write(path, seeds=[7]), ["seeds={at_least: 2, at_most: 4}"])
    assert (sweep.seeds, sweep.more_seeds) == ((1, 2), (3, 4))


def test_what_is_written_in_short_is_read_again_as_it_was(path: Path) -> None:
    sweep = load_sweep(write(path, seeds={"at_least": 2, "at_most": 4}))
    assert sweep.questions["copying"].with_ == {"start": "random"}
    assert sweep.questions["copying"].against is not None
    assert sweep.questions["copying"].against.with_ == 0.5
    assert plain(sweep)["questions"]["trend"]["trend"]["with"] == {"start": "random"}
    path.write_text(as_yaml(sweep))
    assert load_sweep(path) == sweep


@pytest.mark.parametrize(
    ("seeds", "reason"),
    [
        ({"at_least": 3}, "seeds must be a list, or such as {at_least: 3, at_most: 12}"),
        ({"at_least": 3, "at_most": 4, "more": 1}, "seeds must be a list, or such as"),
        ({"at_least": True, "at_most": 4}, "seeds must be a list, or such as"),
        ({"at_least": 3, "at_most": "many"}, "seeds must be a list, or such as"),
        # One seed decides nothing, so that every question would go on.
        ({"at_least": 1, "at_most": 4}, "seeds.at_least must be 2 or more"),
        ({"at_least": 5, "at_most": 4}, "and seeds.at_most between it and 1,000, got 5 and 4"),
        ({"at_least": 5, "at_most": 10**12}, "seeds.at_most between it and 1,000"),
    ],
)
def test_a_range_that_is_none_is_told_of(seeds: dict[str, Any], reason: str) -> None:
    given = {"name": "study", "base": "base.yaml", "questions": QUESTIONS, "seeds": seeds}
    with pytest.raises(ConfigError) as refused:
        checked_sweep(given, origin="sweep")
    heading, line = str(refused.value).splitlines()
    assert heading == "sweep: 1 problem(s)"
    assert reason in line


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            {"seeds": {"at_least": 2, "at_most": 3}, "more_seeds": [7]},
            "more_seeds: seeds.at_most says how many there are: leave one of them out",
        ),
        ({"seeds": [1, 2], "more_seeds": [3, 3]}, "more_seeds has one twice: [3, 3]"),
        ({"seeds": [1, 2], "more_seeds": [2]}, "seeds and more_seeds both have 2"),
        ({"seeds": [1], "more_seeds": [-1]}, "more_seeds must be in [0, 2^31), got [-1]"),
        ({"more_seeds": [3]}, "more_seeds needs two seeds or more: those of every arm"),
        (
            {"seeds": [1], "more_seeds": [3]},
            "more_seeds needs two seeds or more: those of every arm",
        ),
        (
            {"seeds": [1], "more_seeds": [3], "questions": {}},
            "more_seeds are for undecided questions, and questions has none",
        ),
    ],
)
def test_further_seeds_that_make_no_sense_are_told_of(given: dict[str, Any], reason: str) -> None:
    whole = {"name": "study", "base": "base.yaml", "questions": QUESTIONS, **given}
    with pytest.raises(ConfigError) as refused:
        checked_sweep(whole, origin="sweep")
    assert f"  - {reason}" in str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("section", "key"), [(("copying",), "copying"), (("copying", "against"), "copying.against")]
)
def test_the_name_of_the_field_is_no_key(section: tuple[str, ...], key: str) -> None:
    questions = copy.deepcopy(QUESTIONS)
    place = functools.reduce(dict.__getitem__, section, questions)
    place["with_"] = place.pop("with")
    with pytest.raises(ConfigError) as refused:
        checked_sweep({"name": "s", "base": "b.yaml", "questions": questions}, origin="sweep")
    line = f"  - questions.{key}.with_: no such key; it is with"
    assert str(refused.value).splitlines() == ["sweep: 1 problem(s)", line]
