"""Document configuration keys: type, default and meaning, from the schema itself."""

import argparse
import ast
import dataclasses
import difflib
import inspect
import itertools
import sys
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any

from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError

_ANY_NAME = "<name>"
"""Stands for the free keys of a mapping such as teachers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd explain``."""
    parser.add_argument(
        "key", nargs="?", default="", metavar="KEY", help="a key or section, such as losses"
    )


def run(options: argparse.Namespace) -> int:
    """Print every key that begins with the given one."""
    docs = list(key_docs())
    wanted = options.key.split(".") if options.key else []
    found = [doc for doc in docs if _matches(doc.key.split("."), wanted)]
    if not found:
        keys = [doc.key for doc in docs]
        sections = {key.rpartition(".")[0] for key in keys}
        close = difflib.get_close_matches(options.key, [*keys, *sections], n=1)
        advice = f"did you mean {close[0]}?" if close else "raykd explain lists all keys"
        message = f"{options.key}: no such key; {advice}"
        raise ConfigError(message)
    for doc in found:
        print(f"{doc.key}  ({doc.type_name}, default {doc.default})")
        for line in doc.text.splitlines():
            print(f"    {line}")
    return 0


def _matches(key: list[str], wanted: list[str]) -> bool:
    return len(wanted) <= len(key) and all(
        part in (given, _ANY_NAME) for part, given in zip(key, wanted, strict=False)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyDoc:
    """Everything known about one configuration key."""

    key: str
    type_name: str
    default: str
    text: str


def key_docs(schema: type = RunConfig, prefix: str = "") -> Iterator[KeyDoc]:
    """Walk the schema depth first, yielding every leaf key."""
    hints = typing.get_type_hints(schema)
    texts = _attribute_docstrings(schema)
    for field in dataclasses.fields(schema):
        hint = hints[field.name]
        key = f"{prefix}{field.name}"
        if typing.get_origin(hint) is dict and dataclasses.is_dataclass(typing.get_args(hint)[1]):
            key, hint = f"{key}.{_ANY_NAME}", typing.get_args(hint)[1]
        section = _section_in(hint)
        if section is None:
            yield KeyDoc(
                key=key,
                type_name=_type_name(hint),
                default=_default(field),
                text=texts.get(field.name, ""),
            )
        else:
            yield from key_docs(section, f"{key}.")


def _section_in(hint: Any) -> type | None:
    alternatives = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return next(
        (a for a in alternatives if isinstance(a, type) and dataclasses.is_dataclass(a)), None
    )


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(typing.get_args(hint))
    if hint is type(None):
        return "null"
    if isinstance(hint, UnionType):
        return " | ".join(_type_name(alternative) for alternative in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"list of {_type_name(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is dict:
        return f"mapping to {_type_name(typing.get_args(hint)[1])}"
    return str(hint.__name__)


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        shown = list(field.default) if isinstance(field.default, tuple) else field.default
        return "null" if shown is None else str(shown)
    if field.default_factory is not dataclasses.MISSING:
        return str(field.default_factory())
    return "required"


def _attribute_docstrings(schema: type) -> dict[str, str]:
    """Collect the string that follows each field in the class body."""
    module = ast.parse(inspect.getsource(sys.modules[schema.__module__]))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    statements = classes[schema.__name__].body
    texts = {}
    for statement, following in itertools.pairwise(statements):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            texts[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return texts
