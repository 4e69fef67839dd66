"""JSON of others, read with suspicion: a value is what it should be, or a ValueError says where.

Where a value lies is told by its place in the document, such as ``splits.train[0].path``.
"""

from collections.abc import Mapping

from raykd.storage.remote.names import is_inside

_SHOWN_CHARACTERS = 60
"""Characters of a wrong value in a message; what is longer would not be read."""


def fields_of(value: object, names: tuple[str, ...], where: str) -> dict[str, object]:
    """Return a JSON object that has exactly the given fields."""
    fields = mapping(value, where)
    if missing := [name for name in names if name not in fields]:
        message = f"{where} lacks {missing[0]!r}"
        raise ValueError(message)
    if unknown := [name for name in fields if name not in names]:
        message = f"{where} has the unknown field {unknown[0]!r}"
        raise ValueError(message)
    return fields


def mapping(value: object, where: str) -> dict[str, object]:
    """Return a JSON object."""
    if not isinstance(value, Mapping):
        raise _unlike(value, "an object", where)
    return dict(value)


def listed(value: object, where: str) -> list[object]:
    """Return a JSON array."""
    if not isinstance(value, list):
        raise _unlike(value, "a list", where)
    return value


def text(value: object, where: str) -> str:
    """Return a string with something in it."""
    if not isinstance(value, str) or not value:
        raise _unlike(value, "a text", where)
    return value


def texts(value: object, where: str) -> tuple[str, ...]:
    """Return different strings."""
    strings = tuple(
        text(one, f"{where}[{index}]") for index, one in enumerate(listed(value, where))
    )
    if len(set(strings)) < len(strings):
        raise _unlike(value, "a list without repetition", where)
    return strings


def integer(value: object, where: str, *, minimum: int, below: int = 1 << 63) -> int:
    """Return a whole number in a range."""
    # In Python, true is an int.
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < below:
        raise _unlike(value, f"a whole number in [{minimum}, {below})", where)
    return value


def integers(value: object, where: str, *, minimum: int, below: int = 1 << 63) -> tuple[int, ...]:
    """Return whole numbers in a range."""
    return tuple(
        integer(one, f"{where}[{index}]", minimum=minimum, below=below)
        for index, one in enumerate(listed(value, where))
    )


def boolean(value: object, where: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise _unlike(value, "true or false", where)
    return value


def path_within(value: object, where: str) -> str:
    """Return a relative path below the directory that it is relative to."""
    path = text(value, where)
    if not is_inside(path):
        raise _unlike(value, "a path inside the directory", where)
    return path


def _unlike(value: object, wanted: str, where: str) -> ValueError:
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}..."
    return ValueError(f"{where} is {shown}, not {wanted}")
