"""What the command line says of an error: one message, and with --debug where it comes from."""

import argparse
import sys
import traceback

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
