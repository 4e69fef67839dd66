"""What is installed for the tests is exactly what constraints.txt says, from an index alone."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!+]*")


def pinned_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_constraint_is_an_exact_version_of_an_index() -> None:
    # So no URL, no file, no editable, no option such as another index, no range, no marker.
    assert [line for line in pinned_lines() if not PIN.fullmatch(line)] == []


def test_no_package_is_pinned_twice() -> None:
    names = [canonicalize_name(line.partition("==")[0]) for line in pinned_lines()]
    assert sorted(set(names)) == sorted(names)


def test_everything_that_raykd_needs_is_pinned() -> None:
    pinned = {canonicalize_name(line.partition("==")[0]) for line in pinned_lines()}
    needed, to_do = set[str](), ["raykd"]
    while to_do:
        for text in metadata.requires(to_do.pop()) or ():
            requirement = Requirement(text)
            name = canonicalize_name(requirement.name)
            if name in needed or not _applies(requirement):
                continue
            needed.add(name)
            to_do.append(name)
    assert needed - pinned <= {"pip", "setuptools"}


def _applies(requirement: Requirement) -> bool:
    """Tell whether it is for this machine, without any extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


@pytest.mark.parametrize("name", ["pyproject.toml", "Makefile", ".pre-commit-config.yaml"])
def test_nothing_is_installed_from_a_url(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert re.findall(r"(?:git\+|@ ?https?:|--(?:extra-)?index-url|--trusted-host)", text) == []
