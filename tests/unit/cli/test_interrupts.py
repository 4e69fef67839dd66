"""The first interrupt is told, the second ends the block; nothing keeps the process alive then."""

import signal
import subprocess
import sys

import pytest
from raykd.cli.interrupts import interruptible

_PROGRAM = """
import signal, threading
from raykd.cli.interrupts import interruptible

with interruptible(grace_seconds=0.5) as stopped:
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            print("interrupted", stopped.is_set(), flush=True)
if {waits}:
    threading.Thread(target=threading.Event().wait).start()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_told_and_afterwards_all_is_as_before(number: signal.Signals) -> None:
    usual = signal.getsignal(number)
    with interruptible() as stopped:
        assert not stopped.is_set()
        signal.raise_signal(number)
        assert stopped.is_set()
    assert signal.getsignal(number) is usual


@pytest.mark.parametrize(("waits", "status"), [(False, 0), (True, 1)])
def test_the_second_interrupts_and_what_still_waits_is_ended(*, waits: bool, status: int) -> None:
    """A thread that waits for ever, as one does for a store that is away, is not waited for."""
    program = [sys.executable, "-c", _PROGRAM.format(waits=waits)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("interrupted True\n", status), done.stderr
