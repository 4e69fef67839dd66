"""Every section refuses an unknown key, and every key a value of another type."""

from pathlib import Path

import pytest
from raykd.config.keys import ANY_NAME, KeyDoc, key_docs
from raykd.config.schema.sweep import SweepConfig

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows

_FREE = {"student.architecture.settings", "inputs"}
"""Sections whose keys are the user's, or a library's."""


def _named(doc: KeyDoc) -> str:
    return doc.key.replace(ANY_NAME, "big")


_SECTIONS = [doc for doc in key_docs() if doc.is_section and not doc.type_name.startswith("map")]
_LEAVES = [doc for doc in key_docs() if not doc.is_section and doc.parts[-1] != ANY_NAME]


_WRONG = {True: "{a: {b: 1}}", False: "[[wrong]]"}
"""A value that no list is, and one that nothing else is."""


def _is_list(doc: KeyDoc) -> bool:
    return doc.type_name.startswith("list")


@rows(
    bad(
        f"unknown-in-{_named(doc)}",
        f"check kd.yaml '{_named(doc)}.nonsense=1'",
        "kd.yaml: ",
        f"{_named(doc)}.nonsense: no such key; ",
    )
    for doc in _SECTIONS
    if doc.key not in _FREE
)
def test_every_section_refuses_an_unknown_key(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)


@rows(
    bad(
        f"type-of-{_named(doc)}",
        f"check kd.yaml '{_named(doc)}={_WRONG[_is_list(doc)]}'",
        "kd.yaml: ",
        f"{_named(doc)}: expected {doc.type_name}, got ",
        "'wrong'" if not _is_list(doc) else "'b': 1",
    )
    for doc in _LEAVES
)
def test_every_key_refuses_a_value_of_another_type(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)


@rows(
    bad(
        f"sweep-type-of-{doc.key}",
        f"check sweep.yaml '{doc.key}={_WRONG[_is_list(doc)]}'",
        "sweep.yaml: ",
        f"{doc.key}: expected {doc.type_name}, got ",
    )
    for doc in key_docs(SweepConfig)
    # Seeds may be a range, which has messages of its own.
    if len(doc.parts) == 1 and not doc.is_section and doc.key not in ("base", "exclude", "seeds")
)
def test_every_key_of_a_sweep_refuses_a_value_of_another_type(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)
