"""Processes that want one lease; they say on standard output what they are doing.

    lease_drivers.py URI NUM_DRIVERS

Each prints ``waiting PID`` when it starts to wait, ``in PID`` once it holds the lease, then
waits for a line on standard input, and prints ``out PID``. Forked, so that all start at once.
"""

import os
import sys

from raykd.storage.leases import lease


def say(what: str) -> None:
    """Write a whole line at once: the processes share standard output."""
    os.write(1, f"{what} {os.getpid()}\n".encode())


def say_that_it_waits(_: str) -> None:
    """Say so, whoever it waits for."""
    say("waiting")


def drive(uri: str) -> None:
    """Hold the lease until told to go on."""
    with lease.held_lease(uri, has_workers=False, waits=True, on_wait=say_that_it_waits):
        say("in")
        # Unbuffered: a line is for one process alone.
        os.read(0, 1)
        say("out")


if __name__ == "__main__":
    lease.POLL_SECONDS, lease.REMOTE_POLL_SECONDS = 0.02, 0.2
    for _ in range(int(sys.argv[2])):
        if os.fork() == 0:
            drive(sys.argv[1])
            os._exit(0)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
