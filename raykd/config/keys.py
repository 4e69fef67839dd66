"""What is known of each configuration key, from the schema itself: type, default, meaning."""

import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import sys
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any

from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig

Schema = type[RunConfig | SweepConfig]
"""What a file configures."""

ANY_NAME = "<name>"
"""Stands for the names that the user gives, as those of teachers."""

_UNIONS = (UnionType, typing.Union)
"""What ``X | None`` is: the second where X is a Literal."""

_MOST_ADVISED = 3
"""Keys that are named for an unknown one; more would not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyDoc:
    """One key or section of the configuration."""

    parts: tuple[str, ...]
    """The key, cut at its dots."""

    type_name: str
    default: str | None
    """As YAML writes it; None where there is none."""

    text: str
    is_section: bool
    """Whether it has keys of its own."""

    entry: type | None = None
    """The schema of its entries, where it is a list of sections."""

    @property
    def is_required(self) -> bool:
        """Whether a value must be given, where the section around it is present."""
        return self.default is None and self.parts[-1] != ANY_NAME

    @property
    def key(self) -> str:
        """The key as it is written, with dots."""
        return ".".join(self.parts)

    def begins_with(self, parts: Sequence[str]) -> bool:
        """Tell whether this is the key with the given parts, or one below it."""
        return len(parts) <= len(self.parts) and all(
            own in (given, ANY_NAME) for own, given in zip(self.parts, parts, strict=False)
        )


@functools.cache
def key_docs(schema: Schema = RunConfig) -> tuple[KeyDoc, ...]:
    """Return every key of a run or of a sweep, a section before the keys in it."""
    return tuple(_walk(schema, ()))


def key_doc(parts: Sequence[str], schema: Schema = RunConfig) -> KeyDoc | None:
    """Return what is known of the key with these parts, or None where there is no such key."""
    docs = key_docs(schema)  # type: ignore[arg-type]  # a class is hashable
    return next((d for d in docs if len(d.parts) == len(parts) and d.begins_with(parts)), None)


def advice_for(unknown: str, schema: Schema = RunConfig) -> str:
    """Return what may have been meant by a key that does not exist."""
    keys = [doc.key for doc in key_docs(schema)]  # type: ignore[arg-type]  # as above
    named_alike = [key for key in keys if key.rpartition(".")[2] == unknown]
    # The same last part in another section is meant more often than a misspelling.
    close = named_alike or difflib.get_close_matches(unknown, keys, n=1)
    if len(close) > _MOST_ADVISED:
        others = len(close) - _MOST_ADVISED
        close = [*close[:_MOST_ADVISED], f"{others} others of that name"]
    explain = "raykd explain --sweep" if schema is SweepConfig else "raykd explain"
    return f"did you mean {' or '.join(close)}?" if close else f"{explain} lists all keys"


def _walk(schema: type, parents: tuple[str, ...]) -> Iterator[KeyDoc]:
    hints = typing.get_type_hints(schema)
    texts = _attribute_docstrings(schema)
    for field in dataclasses.fields(schema):
        hint, parts = hints[field.name], (*parents, field.name.rstrip("_"))
        text = texts.get(field.name, "")
        yield _key_doc(parts, hint, default=_default(field), text=text)
        if typing.get_origin(hint) is dict:
            hint, parts = typing.get_args(hint)[1], (*parts, ANY_NAME)
            yield _key_doc(parts, hint, default=None, text="")
        if (section := _section_in(hint)) is not None:
            yield from _walk(section, parts)


def _key_doc(parts: tuple[str, ...], hint: object, *, default: str | None, text: str) -> KeyDoc:
    section = _section_in(hint)
    return KeyDoc(
        parts=parts,
        type_name=_type_name(hint),
        default=default,
        text=text or (inspect.getdoc(section) if section else None) or "Any number of entries.",
        is_section=section is not None or typing.get_origin(hint) is dict,
        entry=_section_in(typing.get_args(hint)[0]) if typing.get_origin(hint) is list else None,
    )


def _section_in(hint: object) -> type | None:
    alternatives = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    return next(
        (a for a in alternatives if isinstance(a, type) and dataclasses.is_dataclass(a)), None
    )


def _type_name(hint: Any) -> str:
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Literal:
            return " | ".join(arguments)
        case origin if origin in _UNIONS:
            return " | ".join(map(_type_name, arguments))
        case origin if origin in (tuple, list):
            return f"list of {_type_name(arguments[0])}"
        case origin if origin is dict:
            return f"mapping to {_type_name(arguments[1])}"
    if hint is type(None):
        return "null"
    return "section" if dataclasses.is_dataclass(hint) else str(hint.__name__)


def _default(field: "dataclasses.Field[object]") -> str | None:
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        return str(made) if isinstance(made, dict | list) else "as below"
    if field.default is dataclasses.MISSING:
        return None
    default = field.default
    if default is None or isinstance(default, bool):
        return "null" if default is None else str(default).lower()
    return f"[{', '.join(map(str, default))}]" if isinstance(default, tuple) else str(default)


def _attribute_docstrings(schema: type) -> dict[str, str]:
    """Collect the string that follows each field in the class body."""
    # Python keeps no docstrings of fields at run time: they are in the source alone.
    module = ast.parse(inspect.getsource(sys.modules[schema.__module__]))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    texts = {}
    for statement, following in itertools.pairwise(classes[schema.__name__].body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            texts[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return texts
