"""Names of files in a directory, as a store or a manifest gives them; its writer chose them.

An object store takes a key such as ``model/../../x`` as it is; on a disk it would lie elsewhere.
"""

from collections.abc import Iterable, Sequence

from raykd.errors import StorageDeniedError


def is_inside(name: str) -> bool:
    """Tell whether a path in a manifest stays in its directory, on any system."""
    return not leads_out(name) and {":", "\\"}.isdisjoint(name)


def require_inside(names: Iterable[str], *, uri: str) -> None:
    """Check the names of all files of a directory before any is written to a disk.

    Raises:
        StorageDeniedError: One leads elsewhere.
    """
    if outside := [name for name in names if leads_out(name)]:
        message = (
            f"{uri}: holds {outside[0]!r}, which would lie outside of it on a disk; nothing of "
            "it is fetched: delete that object, if the store is yours"
        )
        raise StorageDeniedError(message)


def listed(names: Sequence[str], *, most: int = 3) -> str:
    """Return some names as words, the first ones and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def leads_out(name: str) -> bool:
    """Tell whether a key would be another place, or none, on a disk."""
    return "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/"))
