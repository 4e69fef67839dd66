"""Runs of one process take turns: one trains at a time, and pauses where another may go on.

So they can share what costs much, such as a teacher, and each computes what it computes alone.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")

Turns = Generator[None, None, T]
"""A run that pauses, and returns how it ended."""


def alone(turns: Turns[T]) -> T:
    """Train a run that has no others beside it to its end."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            result: T = end.value
            return result


def by_turns(members: Mapping[str, Turns[T]]) -> Iterator[tuple[str, T]]:
    """Let runs go on in their order, again and again; yield each that ends, and how."""
    waiting = deque(members)
    while waiting:
        name = waiting.popleft()
        try:
            next(members[name])
        except StopIteration as end:
            yield name, end.value
        else:
            waiting.append(name)
