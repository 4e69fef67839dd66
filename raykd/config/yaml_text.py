"""YAML as configurations use it: version 1.2, plain values, nothing given twice.

PyYAML reads version 1.1, where ``no`` (the language) is false and 1e-4 is text.
"""

import io
import json
import re
from typing import IO, Any

import yaml

_SCALARS = [
    (f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"))
    for name, pattern in {
        "null": r"null|~|",
        "bool": r"true|false",
        "int": r"[-+]?(?:0|[1-9][0-9_]*)",
        "float": r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9]*)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan",
    }.items()
]
"""What is not text although it stands without quotes; the first that matches counts."""


def read_yaml(text: str | IO[bytes]) -> Any:
    """Return a YAML document as values that JSON knows, none of them shared.

    Raises:
        ValueError: It is no YAML, gives a key twice, or holds what JSON cannot: bytes, sets,
            a list within itself. The message says where.
    """
    try:
        loader = yaml.SafeLoader(text)
        loader.yaml_implicit_resolvers = {None: _SCALARS}
        node = loader.get_single_node()
        # Through JSON, so that two aliases of one section can be overridden apart.
        value = json.loads(json.dumps(None if node is None else loader.construct_document(node)))
        _require_unique_keys(node)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark
        where = "" if place is None else f"line {place.line + 1}, column {place.column + 1}: "
        message = f"{where}{error.problem}"
        raise ValueError(message) from error
    except (yaml.YAMLError, TypeError, RecursionError, LookupError, AttributeError) as error:
        # PyYAML meets a value that is not what its tag says, as in !!bool x, in all these ways.
        message = " ".join(str(error).split())
        raise ValueError(message) from error
    return value


def write_yaml(value: Any) -> str:
    """Return values that JSON knows as YAML; text that YAML 1.1 or 1.2 could misread is quoted."""
    stream = io.StringIO()
    # ASCII alone: with allow_unicode PyYAML loses U+0085.
    dumper = yaml.SafeDumper(stream, sort_keys=False, default_flow_style=False)
    dumper.yaml_implicit_resolvers = {**dumper.yaml_implicit_resolvers, None: _SCALARS}
    dumper.open()
    dumper.represent(value)
    dumper.close()
    return stream.getvalue()


def _require_unique_keys(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, child in node.value:
            if key.value in seen:
                reason = f"{key.value!r} is given twice"
                raise yaml.MarkedYAMLError(problem=reason, problem_mark=key.start_mark)
            seen.add(key.value)
            _require_unique_keys(child)
    elif isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _require_unique_keys(child)
