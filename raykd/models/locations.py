"""Where a model may lie: in a directory, at a URI, or on the Hub under a name."""

import difflib
import os
from pathlib import Path

from raykd.errors import ModelError
from raykd.storage import uris


def is_location(source: str) -> bool:
    """Tell a directory or URI from a name on the Hub."""
    return "://" in source or uris.exists(source)


def check_place(source: str) -> None:
    """Refuse a file, and a path to nothing; a path is told from a name on the Hub by its folder.

    Raises:
        ModelError: The message names what lies nearby.
        StorageDeniedError: This process may not look there.
    """
    if "://" not in source and uris.is_file(source):
        message = f"{source}: is a file; name the directory of the model"
        raise ModelError(message)
    if is_location(source):
        return
    folder = _path(source).parent
    if not source.startswith((".", "/", "~")) and (
        folder == Path() or not Path(folder.parts[0]).is_dir()
    ):
        return
    names = uris.list_names(str(folder)) if folder.is_dir() else []
    close = sorted(name for name in names if name.startswith(Path(source).name))
    close = close or difflib.get_close_matches(Path(source).name, names, n=1)
    advice = (
        f"; did you mean {' or '.join(str(folder / name) for name in close)}?" if close else ""
    )
    message = f"{source}: no such directory{advice}"
    raise ModelError(message)


def _path(source: str) -> Path:
    # Unlike that of pathlib, it leaves alone what begins with no user's home.
    return Path(os.path.expanduser(source))  # noqa: PTH111
