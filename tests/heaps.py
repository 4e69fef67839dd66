"""The heaps of a process, as the kernel maps them."""

from itertools import pairwise
from pathlib import Path

HEAP_BYTES = 64 << 20


def heaps_of_threads(process_id: int) -> list[str]:
    """Return the addresses of what glibc reserves for a thread's heap: 64 MiB, used from below."""
    maps = Path(f"/proc/{process_id}/maps").read_text().splitlines()
    found = [line.split() for line in maps]
    heaps = []
    for used, rest in pairwise(found):
        begin, middle = (int(address, 16) for address in used[0].split("-"))
        if (
            (used[1], rest[1], len(used)) == ("rw-p", "---p", 5)
            and rest[0].startswith(f"{middle:x}-")
            and int(rest[0].split("-")[1], 16) - begin == HEAP_BYTES
            and begin % HEAP_BYTES == 0
        ):
            heaps.append(used[0])
    return heaps
