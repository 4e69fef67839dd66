"""A directory for sockets, whose full paths Unix bounds to about a hundred bytes.

Sockets lie with other temporary files, in TMPDIR; the directory that a scheduler makes there for
each of its jobs may have a longer name than a socket's path may have.
"""

import os
import sys
from collections.abc import Sequence

from raykd.errors import ConfigError

_MOST_BYTES = 103 if sys.platform == "darwin" else 107
"""Bytes of sun_path in sockaddr_un, as the kernels have it, less the zero at its end."""

_SHORT_PLACES = ("/tmp", "/var/tmp")  # noqa: S108  what is made in them has a directory of its own


def place_for_sockets(wanted: str, *, room: int, instead: Sequence[str] = _SHORT_PLACES) -> str:
    """Return a directory, or where its name is too long one of others that are shorter.

    Args:
        wanted: The directory of temporary files.
        room: Bytes that the path of a socket has below the directory.
        instead: The others, in the order in which they are tried.

    Raises:
        ConfigError: None has a short name and can be written.
    """
    most = _MOST_BYTES - room
    for place in (wanted, *instead):
        if len(os.fsencode(place)) <= most and os.access(place, os.W_OK | os.X_OK):
            return place
    message = (
        f"TMPDIR: {wanted} is no directory for sockets: its name may have {most} bytes, and it "
        f"has to be writable, as {' and '.join(instead)} are not; set TMPDIR to another"
    )
    raise ConfigError(message)
