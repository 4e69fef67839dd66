"""Ctrl-C asks a run in this process to stop after its step, and a second time at once."""

import signal
from collections.abc import Iterator

import pytest
from raykd.cli.train import _interruptible


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Have interrupts raise, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_asks_and_the_second_interrupts() -> None:
    usual = signal.getsignal(signal.SIGINT)
    with _interruptible() as stopped:
        assert not stopped.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stopped.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is usual


def test_the_usual_interrupt_is_back_afterwards() -> None:
    usual = signal.getsignal(signal.SIGINT)
    with _interruptible():
        assert signal.getsignal(signal.SIGINT) is not usual
    assert signal.getsignal(signal.SIGINT) is usual
