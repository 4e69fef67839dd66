"""What docs and README say of the code is so: layers, files, functions, links."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / ".github/CONTRIBUTING.md"])

STOP = re.compile(r"`(?P<file>(?:raykd|tests|jobs)/[\w/]+\.py)(?:::(?P<names>[\w.]+))?`")
"""A file of the code, and perhaps what of it is meant: ``raykd/a.py::Class.method``."""

LINK = re.compile(r"\]\((?P<target>[^)#:\s]+)(?:#[^)]*)?\)")


def test_the_picture_of_the_layers_is_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in contracts["contracts"] if c["id"] == "layers")
    page = (ROOT / "docs/architecture.md").read_text()
    (picture,) = re.findall(r"```layers\n(.*?)```", page, re.DOTALL)
    drawn = [re.split(r"\s{2,}", line.strip())[0] for line in picture.splitlines()]
    assert [sorted(line.split(" | ")) for line in drawn] == [
        sorted(layer.split(" | ")) for layer in layers
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_functions_and_links_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    missing = [
        m["target"] for m in LINK.finditer(text) if not (page.parent / m["target"]).exists()
    ]
    for match in STOP.finditer(text) if page.name != "CHANGELOG.md" else ():
        file, names = ROOT / match["file"], (match["names"] or "").split(".")
        if not file.exists() or not (
            names == [""] or is_defined(ast.parse(file.read_text()), names)
        ):
            missing.append(match[0])
    assert not missing


def is_defined(tree: ast.AST, names: list[str]) -> bool:
    """Tell whether a module or class has a function, class or field, which has the next, ..."""
    if not names:
        return True
    for node in getattr(tree, "body", ()):
        targets = (
            [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        )
        known = {t.id for t in targets if isinstance(t, ast.Name)} | {getattr(node, "name", None)}
        if names[0] in known and is_defined(node, names[1:]):
            return True
    return False


def test_a_name_that_is_not_there_is_found_missing() -> None:
    tree = ast.parse("class A:\n    x: int = 1\n    def f(self): ...\n")
    assert is_defined(tree, ["A", "f"])
    assert is_defined(tree, ["A", "x"])
    assert not is_defined(tree, ["A", "g"])
