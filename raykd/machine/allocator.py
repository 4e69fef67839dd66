"""Memory that large tensors free is kept for the next ones, instead of given back each step.

By default glibc asks the kernel for every large block and returns it when it is free: each step
then faults in, and the kernel clears, all its activations again.
"""

import ctypes

_MMAP_MAX, _TRIM_THRESHOLD, _TOP_PAD, _ARENA_MAX = -4, -1, -2, -8
"""Parameters of mallopt, as malloc.h numbers them."""

_SETTINGS = {
    # No block is mapped on its own. The threshold that decides which are goes up to 32 MiB only.
    _MMAP_MAX: 0,
    # The heap is never given back while the process lives.
    _TRIM_THRESHOLD: 2**31 - 1,
    # It grows by so many bytes at a time.
    _TOP_PAD: 256 << 20,
    # Threads that start from now on share the heap of the first. Others consist of pieces of
    # 64 MiB, in which the parts of an upload fit badly, and keep all that they have ever held.
    _ARENA_MAX: 1,
}

ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
"""Environment of processes that have threads before they call ``keep_large_blocks``, as workers of
Ray do: the heap of a thread that has ended goes to a later one, whatever the limit is by then."""


def keep_large_blocks() -> bool:
    """Have this process keep the memory of large blocks; tell whether its C library can.

    It is what the environment variables MALLOC_MMAP_MAX_, MALLOC_TRIM_THRESHOLD_, MALLOC_TOP_PAD_
    and MALLOC_ARENA_MAX do, for a process that runs already. Called before it starts its threads,
    it makes a process that uploads checkpoints beside its training smaller, and one that does not
    grow.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    # mallopt returns 1 where it has taken a value.
    taken = [library.mallopt(name, value) == 1 for name, value in _SETTINGS.items()]
    return all(taken)
