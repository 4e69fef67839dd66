"""YAML as configurations use it: version 1.2, values that JSON knows.

Version 1.1, which PyYAML reads, makes ``no`` (the language) false and 1e-4 text.
"""

import io
import json
import unicodedata
from typing import IO, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode

_MARKED = ("[", "{", "'", '"')
"""How values begin that are more than a plain word."""

_PLAIN_TYPES = ("null", "bool", "int", "float")
_NO_TEXT = ("Cc", "Cs")
"""Unicode's control characters, and halves of characters, which no file could hold."""


def read_yaml(text: str | IO[bytes]) -> Any:
    """Return a YAML document as values that JSON knows, none of them shared.

    Raises:
        ValueError: It is no YAML, or gives a key twice. The message says where.
    """
    try:
        # Through JSON, so that two aliases of one section can be overridden apart.
        return json.loads(json.dumps(_yaml().load(text), default=str))
    except MarkedYAMLError as error:
        place = error.problem_mark
        where = "" if place is None else f"line {place.line + 1}, column {place.column + 1}: "
        message = f"{where}{error.problem}"
        raise ValueError(message) from error
    except (YAMLError, TypeError, RecursionError, LookupError, AttributeError) as error:
        # ruamel.yaml meets a value that is not what its tag says in all these ways.
        message = " ".join(str(error).split())
        raise ValueError(message) from error


def read_value(text: str) -> object:
    """Return a value that stands alone, such as that of an override.

    A list, a mapping and what is in quotes are read as YAML. All else is one plain value, which
    is all of the text: there is no comment in it, no key, no alias, no tag.

    Raises:
        ValueError: It is no YAML, or something follows it. The message says where.
    """
    # A plain value may hold ': ' and ' #', which YAML would take for a key and a comment.
    begun = text.lstrip()
    if not begun.startswith(_MARKED):
        return _plain_value(text)
    value = read_yaml(begun)
    if rest := begun[_yaml().compose(begun).end_mark.index :].strip():
        message = f"{rest!r} follows the end of the value"
        raise ValueError(message)
    return value


def write_yaml(value: object) -> str:
    """Return values that JSON knows as YAML."""
    stream = io.StringIO()
    _yaml().dump(value, stream)
    return stream.getvalue()


def _plain_value(text: str) -> object:
    """Return null, a boolean or a number where the text is one, else the text."""
    if odd := next((char for char in text if unicodedata.category(char) in _NO_TEXT), None):
        message = f"the character {odd!r} is not allowed"
        raise ValueError(message)
    yaml, word = _yaml(), text.strip()
    tag = yaml.resolver.resolve(ScalarNode, word, (True, False))
    if str(tag).rpartition(":")[2] not in _PLAIN_TYPES:
        return text
    return yaml.constructor.construct_object(ScalarNode(tag, word))


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # it is a bool
    return yaml
