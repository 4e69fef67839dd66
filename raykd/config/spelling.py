"""Keys of files that no field of a Python class can be called, or that are short for others."""

from collections.abc import Mapping
from typing import Any

_WITH = "with"
"""A key of questions, and a keyword of Python."""

_RANGE = ("at_least", "at_most")

_MOST_SEEDS = 1_000
"""Of a range: a slip of the keyboard must not fill the memory."""


def spelling_problems(given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the keys of a sweep file that are spelled otherwise."""
    return [*_field_problems(given), *_range_problems(given)]


def _field_problems(given: Mapping[str, Any]) -> list[str]:
    """Return the keys that are spelled as the field of the class."""
    problems = []
    for name, question in _sections(given.get("questions"), "questions").items():
        for key, section in ({name: question} | _sections(question, name)).items():
            if f"{_WITH}_" in section:
                problems.append(f"{key}.{_WITH}_: no such key; it is {_WITH}")
    return problems


def _sections(parent: object, key: str) -> dict[str, Mapping[str, Any]]:
    """Return the sections of one, by their keys; none of what is no section."""
    entries = parent.items() if isinstance(parent, Mapping) else ()
    return {f"{key}.{name}": value for name, value in entries if isinstance(value, Mapping)}


def _range_problems(given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the seeds where they are given as a range."""
    seeds = given.get("seeds")
    if not isinstance(seeds, Mapping):
        return []
    if {*seeds} != {*_RANGE} or any(type(number) is not int for number in seeds.values()):
        return [
            f"seeds must be a list, or such as {{at_least: 3, at_most: 12}}, got {dict(seeds)}"
        ]
    least, most = (seeds[name] for name in _RANGE)
    if not 2 <= least <= most <= _MOST_SEEDS:  # noqa: PLR2004  a spread needs two
        return [
            f"seeds.at_least must be 2 or more, and seeds.at_most between it and {_MOST_SEEDS:,}, "
            f"got {least} and {most}"
        ]
    if "more_seeds" in given:
        return ["more_seeds: seeds.at_most says how many there are: leave one of them out"]
    return []


def as_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sweep file holds, with each key as the field of the schema that it is.

    What is not of the form of a sweep file stays as it is: the schema says what is wrong with it.
    """
    fields = dict(given)
    seeds = given.get("seeds")
    if isinstance(seeds, Mapping) and not _range_problems(given):
        least, most = (seeds[name] for name in _RANGE)
        fields["seeds"] = list(range(1, least + 1))
        fields["more_seeds"] = list(range(least + 1, most + 1))
    if isinstance(questions := given.get("questions"), Mapping):
        fields["questions"] = _renamed(questions, _WITH, f"{_WITH}_")
    return fields


def as_keys(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration, as plain values, as files spell it."""
    if not fields.get("questions"):
        return fields
    return fields | {"questions": _renamed(fields["questions"], f"{_WITH}_", _WITH)}


def _renamed(questions: Mapping[str, Any], before: str, after: str) -> dict[str, Any]:
    """Return questions where one key of theirs, and of their parts, is called otherwise."""
    return {
        name: _renamed_key(
            {key: _renamed_key(value, before, after) for key, value in question.items()},
            before,
            after,
        )
        if isinstance(question, Mapping)
        else question
        for name, question in questions.items()
    }


def _renamed_key(section: Any, before: str, after: str) -> Any:
    if not isinstance(section, Mapping):
        return section
    return {after if key == before else key: value for key, value in section.items()}
