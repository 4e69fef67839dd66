"""Keys of files that no field of a Python class can be called, or that are short for others."""

from collections.abc import Mapping
from typing import Any

_WITH = "with"
"""A key of questions, and a keyword of Python."""

_RANGE = ("at_least", "at_most")


def as_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a sweep file holds, with each key as the field of the schema that it is.

    What is not of the form of a sweep file stays as it is: the schema says what is wrong with it.
    """
    fields = dict(given)
    seeds = given.get("seeds")
    if isinstance(seeds, Mapping) and {*seeds} == {*_RANGE} and "more_seeds" not in given:
        least, most = (seeds[name] for name in _RANGE)
        if type(least) is type(most) is int and 1 <= least <= most:
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
