"""What is shipped is true: every run file loads, and every key of the schema has an effect."""

import ast
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import raykd
from raykd.config.keys import ANY_NAME, key_docs
from raykd.config.load import load_run
from raykd.config.schema.run import RunConfig

ROOT = Path(__file__).parents[3]
RUNS = sorted((ROOT / "configs" / "runs").glob("*.yaml"))


def test_there_are_run_files() -> None:
    assert {"demo_teacher.yaml", "demo_student.yaml"} <= {path.name for path in RUNS}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_a_run_file_loads_under_its_own_name(path: Path) -> None:
    assert load_run(path).name == path.stem.replace("_", "-")


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A key, the attribute it is, and how code names the section it is in."""

    key: str
    attribute: str
    section: frozenset[str]


def leaves(schema: type, key: str, section: str) -> Iterator[Leaf]:
    for name, hint in typing.get_type_hints(schema).items():
        inner = next(
            (c for c in [hint, *typing.get_args(hint)] if dataclasses.is_dataclass(c)), None
        )
        if isinstance(inner, type):
            yield from leaves(inner, f"{key}{name}.", name)
        else:
            yield Leaf(f"{key}{name}", name, frozenset({section, schema.__name__}))


LEAVES = list(leaves(RunConfig, "", "config"))


def names_in(source: str) -> set[str]:
    """Return every name and every attribute that is read."""
    nodes: list[Any] = list(ast.walk(ast.parse(source)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


MODULES = [
    names_in(path.read_text())
    for path in Path(raykd.__path__[0]).rglob("*.py")
    if "config" not in path.relative_to(raykd.__path__[0]).parts
]


def is_read(leaf: Leaf) -> bool:
    """Tell whether one module reads the attribute and speaks of the section."""
    return any(leaf.attribute in names and leaf.section & names for names in MODULES)


def test_the_leaves_are_those_that_explain_documents() -> None:
    documented = {d.key for d in key_docs() if "mapping to section" not in d.type_name}
    assert {
        leaf.key.replace("teachers.", f"teachers.{ANY_NAME}.") for leaf in LEAVES
    } <= documented


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.key)
def test_every_key_is_read_outside_the_schema(leaf: Leaf) -> None:
    assert is_read(leaf)


def test_a_key_that_nobody_reads_would_be_found() -> None:
    assert not is_read(Leaf("train.patience", "patience", frozenset({"train", "TrainConfig"})))
    assert not is_read(Leaf("tracking.seed", "seed", frozenset({"TrackingConfig"})))
