"""Work beside a block: it goes on while the block runs, and no longer."""

import threading

from raykd.machine.repeating import repeating


def test_an_action_is_repeated_while_the_block_runs_and_never_after() -> None:
    calls: list[str] = []
    thrice = threading.Event()

    def action() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            thrice.set()

    with repeating(0.001, action, name="beside"):
        assert thrice.wait(60)
    count = len(calls)
    assert set(calls) == {"beside"}
    assert not [thread for thread in threading.enumerate() if thread.name == "beside"]
    assert len(calls) == count


def test_an_action_that_is_done_is_not_called_again() -> None:
    with repeating(0.001, lambda: True, name="beside"):
        threads = [thread for thread in threading.enumerate() if thread.name == "beside"]
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)


def test_a_block_that_ends_before_the_first_pause_calls_nothing() -> None:
    calls: list[int] = []
    with repeating(3600, lambda: calls.append(1), name="beside"):
        pass
    assert not calls
