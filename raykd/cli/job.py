"""The scripts in jobs/: a command of raykd that joins the cluster whose job it is."""

import os
import sys
from collections.abc import Sequence

from raykd.cli.debug import tell
from raykd.cli.main import main, parse
from raykd.errors import RaykdError
from raykd.jobs.places import configuration, require_reachable


def run_job(command: str, given: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status.

    Args:
        command: Name of a command of raykd.
        given: Its arguments; those of this process, if None.
    """
    try:
        # Ray tells its jobs so where their cluster is.
        words = job_arguments(
            command,
            sys.argv[1:] if given is None else given,
            cluster=os.environ.get("RAY_ADDRESS"),
        )
    except RaykdError as error:
        return tell(error, debug=False)
    return main(words)


def job_arguments(command: str, given: Sequence[str], *, cluster: str | None) -> list[str]:
    """Return a command line of raykd that joins the cluster it runs in, if it can join one.

    Args:
        command: Name of a command of raykd.
        given: Its arguments; an --address among them counts.
        cluster: The address of the cluster that it runs in; None outside of one.

    Raises:
        ConfigError: It names a place relative to the directory of the job, which goes with it.
    """
    if cluster is None:
        return [command, *given]
    # Parsed here to refuse, before a machine works, what would be lost with the job's directory.
    parsed = parse([command, *given])
    require_reachable(configuration(parsed).relative, address=cluster)
    return [command, *(["--address", "auto"] if "address" in parsed else []), *given]
