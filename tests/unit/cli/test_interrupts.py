"""The first interrupt is told, the second ends the block, and afterwards all is as before."""

import signal

import pytest
from raykd.cli.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_told_and_the_second_interrupts(number: signal.Signals) -> None:
    usual = signal.getsignal(number)
    with interruptible() as stopped:
        assert not stopped.is_set()
        signal.raise_signal(number)
        assert stopped.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is usual
