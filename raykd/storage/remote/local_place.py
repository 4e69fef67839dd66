"""Whether something can be written on this machine, found out without writing."""

import os
import shutil
from pathlib import Path

from raykd.errors import ConfigError
from raykd.storage.remote.filesystem import filesystem, is_local
from raykd.storage.remote.retry import named


def require_writable(uri: str, key: str, *, num_bytes: int = 0) -> None:
    """Refuse a place on this machine that cannot be made, or has too little space.

    Args:
        uri: A place that need not be there yet; of a store elsewhere nothing is checked.
        key: Key of the configuration that names it, for the message.
        num_bytes: Bytes that are going to be written.

    Raises:
        ConfigError: The message says what stands in the way.
        StorageDeniedError: Its scheme is unknown, or needs a package that is not installed.
    """
    with named(uri):
        if not is_local(uri):
            return
    path = Path(filesystem(uri)[1]).resolve()
    # Its mode and its disk are those that the missing directories will have.
    nearest = next(place for place in path.parents if place.exists())
    reason = None
    if not nearest.is_dir():
        reason = f"{nearest} is a file, not a directory"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        reason = f"nothing can be written to {nearest}"
    elif (free := shutil.disk_usage(nearest).free) < num_bytes:
        reason = (
            f"{num_bytes / 1e9:.2f} GB are to be written, but {free / 1e9:.2f} GB are free at "
            f"{nearest}"
        )
    if reason is not None:
        message = f"{uri}: {reason}; name another {key}"
        raise ConfigError(message)
