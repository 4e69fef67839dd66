"""What speaks against a run, collected so that all of it is told at once."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from raykd.errors import RaykdError

T = TypeVar("T")


class Problems:
    """Collects what goes wrong, so that all of it can be told at once."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    def collect(self, find: Callable[[], T]) -> T | None:
        """Return what ``find`` returns, or None after noting why it cannot."""
        try:
            return find()
        except RaykdError as error:
            self._messages.append(str(error))
            return None

    def note(self, messages: Iterable[str]) -> None:
        """Note what is wrong."""
        self._messages += messages

    def found(self) -> tuple[str, ...]:
        """Return every problem once."""
        return tuple(dict.fromkeys(self._messages))
