"""What the command line says of an error: one message, and with --debug where it comes from."""

import argparse
import os
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from raykd.errors import RaykdError


def debug_option() -> argparse.ArgumentParser:
    """Return the parser of ``--debug``, as a parent of those of all commands.

    What is not given is left as it is, so that the option may stand before and after a command.
    """
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument(
        "--debug", action="store_true", help="show where in the program an error comes from"
    )
    return parser


def tell(error: Exception, *, debug: bool) -> int:
    """Print what went wrong to standard error, and return the exit status.

    Args:
        error: What ended the command; a bug, if it is none of raykd's own errors.
        debug: Print the traceback too.
    """
    if debug:
        traceback.print_exception(error)
    if isinstance(error, RaykdError):
        print(f"raykd: {error}", file=sys.stderr)
        return error.exit_status
    reason = " ".join(str(error).split())
    advice = "" if debug else "; --debug shows where"
    print(f"raykd: internal error: {type(error).__name__}: {reason}{advice}", file=sys.stderr)
    return 1


@contextmanager
def unread_output() -> Iterator[None]:
    """End the process without a word where nobody reads on what it prints, as behind ``head``."""
    try:
        try:
            yield
        finally:
            # Else Python does so at its end, and complains.
            sys.stdout.flush()
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            # Python flushes both at its end, and would fail once more: that goes nowhere then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(1) from None


def is_unread(error: Exception) -> bool:
    """Tell whether an error means that nobody reads what is printed, and not some other pipe."""
    if not isinstance(error, BrokenPipeError):
        return False
    pipes = select.poll()
    for stream in (sys.stdout, sys.stderr):
        # Without any event asked for, poll tells of errors alone: POLLERR of a pipe that has no
        # reader.
        pipes.register(stream, 0)
    return bool(pipes.poll(0))
