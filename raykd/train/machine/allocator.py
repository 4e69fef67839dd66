"""Memory that large tensors leave is kept for the next ones, instead of given back each step.

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
    # Threads share heaps: each of its own, as those that upload checkpoints get by default, would
    # keep what it has ever held.
    _ARENA_MAX: 2,
}


def keep_large_blocks() -> bool:
    """Have this process keep the memory of large blocks; tell whether its C library can.

    It is what the environment variables MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_ and
    MALLOC_TOP_PAD_ do, for a process that runs already.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    taken = [library.mallopt(name, value) == 1 for name, value in _SETTINGS.items()]
    return all(taken)
