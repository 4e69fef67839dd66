"""The rule for the names that users give: to runs, sweeps, teachers and splits."""

import re

# Part of directories, of URIs and of keys that are cut at dots: no slash, space or leading dot.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

NAME_RULE = "must consist of letters, digits, '.', '_' and '-'"
"""What to say of a name that breaks it."""


def is_name(text: str) -> bool:
    """Tell whether a text keeps to the rule."""
    return _NAME.fullmatch(text) is not None
