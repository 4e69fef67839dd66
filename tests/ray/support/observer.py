"""Write what a Ray cluster has, and what waits there: ``observer.py ADDRESS FILE``.

A process of its own, as the Rays of tests have tokens of their own, and a process has one.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from ray.util.placement_group import placement_group_table

import ray

_POLL_SECONDS = 0.5


def main() -> None:
    """Add a line to the file whenever something has changed."""
    address, file = sys.argv[1:]
    ray.init(address, log_to_driver=False, logging_level="error")
    start = time.monotonic()
    last: dict[str, Any] = {}
    with Path(file).open("w", buffering=1) as lines:
        while True:
            now = _state()
            if now != last:
                lines.write(json.dumps({"seconds": time.monotonic() - start} | now) + "\n")
            last = now
            time.sleep(_POLL_SECONDS)


def _state() -> dict[str, Any]:
    states = [group["state"] for group in placement_group_table().values()]
    workers = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
    return {
        "nodes": sorted(workers),
        "running": states.count("CREATED"),
        "pending": states.count("PENDING") + states.count("RESCHEDULING"),
    }


if __name__ == "__main__":
    main()
