"""Runs of one process take turns: one trains at a time, and pauses where another may go on.

So they can share what costs much, such as a teacher, and each does what it does alone: seeds and
other settings of the process are its own while it has its turn.
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from typing import TypeVar

from raykd.machine.matmul import products, set_products

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
    usual = products()
    own = dict.fromkeys(members, usual)
    waiting = deque(members)
    while waiting:
        name = waiting.popleft()
        set_products(own[name])
        try:
            next(members[name])
        except StopIteration as end:
            yield name, end.value
        else:
            own[name] = products()
            waiting.append(name)
        finally:
            set_products(usual)
