"""YAML as configurations use it: version 1.2, values that JSON knows.

Version 1.1, which PyYAML reads, makes ``no`` (the language) false and 1e-4 text.
"""

import io
import json
from typing import IO, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError


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


def write_yaml(value: Any) -> str:
    """Return values that JSON knows as YAML."""
    stream = io.StringIO()
    _yaml().dump(value, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # it is a bool
    return yaml
