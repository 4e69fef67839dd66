"""Ranges of a remote file, as libraries read them that want a stream."""

import contextvars
import io

from fsspec import AbstractFileSystem

from raykd.storage.remote.retry import reach


class Ranges(io.RawIOBase):
    """A remote file as Arrow reads it: exactly the ranges it asks for, nothing kept."""

    def __init__(self, uri: str, *, size: int) -> None:
        self._uri = uri
        self._size = size
        self._position = 0
        # Arrow reads from threads of its own, which start with an empty context: the limit of
        # retry_for would not hold there.
        self._context = contextvars.copy_context()

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it is read anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next read begins, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Have the next read begin elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, fewer only at the end; one request."""
        end = self._size if size < 0 else min(self._position + size, self._size)
        if end <= self._position:
            return b""
        # A copy: one context cannot be entered by two threads at a time.
        context = self._context.copy()
        content = context.run(
            reach, self._uri, lambda filesystem, path: self._range(filesystem, path, end)
        )
        self._position = end
        return content

    def _range(self, filesystem: AbstractFileSystem, path: str, end: int) -> bytes:
        content = bytes(filesystem.cat_file(path, start=self._position, end=end))
        if len(content) != end - self._position:
            # Transient: the next attempt may get all of it.
            message = f"{len(content)} bytes arrived of {end - self._position}"
            raise ConnectionError(message)
        return content
