"""Payloads that leave a file behind when something runs them."""

from pathlib import Path


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._mark,)


def touching(mark: Path) -> str:
    """Return Python source that touches a file when it is imported."""
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
