"""Start a command of raykd as a job of a cluster, and follow it to its end."""

import argparse
import getpass
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from raykd.config.credentials import refuse_credentials
from raykd.jobs.cluster import answered, connect, is_on_this_machine
from raykd.jobs.follow import Follower
from raykd.jobs.package import megabytes, require_tracked, tracked_files, write_package
from raykd.jobs.places import configuration, require_reachable
from raykd.jobs.submission import entrypoint, job_environment, next_start, submission_id

_MOST_STATUS = 255


def run(options: argparse.Namespace) -> int:
    """Submit or attach, and follow; return the exit status of the job."""
    here = Path.cwd()
    environment = job_environment(os.environ, options.env)
    refuse_credentials(environment, origin="the environment of the job")
    told = configuration(options.parsed)
    files = tracked_files(here)
    require_tracked(told.paths, here, files)
    client = connect(options.address)
    is_local = is_on_this_machine(client)
    if not is_local:
        require_reachable(told.relative, address=client.get_address())
    command_line = entrypoint(
        [options.submitted, *options.words],
        joins="address" in options.parsed,
        directory=here if is_local else None,
    )
    name = submission_id(
        options.submitted,
        told.study,
        command_line=command_line,
        files={str(path): path.read_bytes() for path in told.paths},
    )
    with answered(client.get_address()):
        # Those without an id were started by hand with ray.init, not submitted.
        is_over = {j.submission_id: j.status.is_terminal() for j in client.list_jobs()}
    # Two that submit at the same moment both see it free; Ray gives an id to one of them, and the
    # other is told that it exists.
    job_id, is_running = next_start(name, {i: over for i, over in is_over.items() if i})
    if is_running:
        print(
            f"{job_id}: runs already, with the files of its start; attached to it. To run those "
            f"that are here now: {_command(client, 'stop', job_id)}, then submit again"
        )
    else:
        _start(client, job_id, command_line, files=files, environment=environment)
    if options.no_follow:
        print(f"follow it: {_command(client, 'logs', '--follow', job_id)}, or submit it again")
        return 0
    return _follow(client, job_id)


def _start(
    client: JobSubmissionClient,
    job_id: str,
    command_line: str,
    *,
    files: Sequence[Path],
    environment: dict[str, str],
) -> None:
    address = client.get_address()
    # Ray uploads the ZIP while it submits, so that it can go with the block.
    with tempfile.TemporaryDirectory(prefix="raykd-package-") as scratch, answered(address):
        package = Path(scratch, "package.zip")
        write_package(Path.cwd(), files, package)
        size = megabytes(package.stat().st_size)
        print(f"{job_id}: {len(files)} files, {size} packed, to {address}", flush=True)
        client.submit_job(
            entrypoint=command_line,
            submission_id=job_id,
            runtime_env={"working_dir": str(package), "env_vars": environment},
            metadata={"owner": _owner()},
        )


def _follow(client: JobSubmissionClient, job_id: str) -> int:
    """Show what a job prints until its end; return its exit status, or 1 at Ctrl-C."""
    follower = Follower(
        client,
        job_id,
        on_text=lambda text: print(text, end="", flush=True),
        on_lost=lambda error: print(
            f"raykd: {error}: connection lost, trying again", file=sys.stderr
        ),
    )
    try:
        job = follower.follow()
    except KeyboardInterrupt:
        print(f"\n{job_id}: not followed any more; the job itself goes on")
        print(f"  {_command(client, 'stop', job_id)}  # ends it, with a checkpoint")
        print("the same command follows it again")
        return 1
    print(f"{job_id}: {outcome(job)}")
    return exit_status(job)


def outcome(job: JobDetails) -> str:
    """Return in a line how a job has ended."""
    if job.status is JobStatus.SUCCEEDED:
        return "done"
    if job.status is JobStatus.STOPPED:
        return "stopped; submit it again to go on"
    if job.driver_exit_code is not None:
        return f"failed with exit status {job.driver_exit_code}"
    return f"failed: {(job.message or '').strip() or 'its cluster does not say why'}"


def exit_status(job: JobDetails) -> int:
    """Return the status of the command that has waited for a job: the job's own if it has one."""
    if job.status is JobStatus.SUCCEEDED:
        return 0
    # A negative one is the number of the signal that ended it.
    own = job.driver_exit_code or 0
    return own if 0 < own <= _MOST_STATUS else 1


def _command(client: JobSubmissionClient, *words: str) -> str:
    """Return a command of Ray about a job of this cluster, to be typed."""
    return " ".join(["ray job", *words, "--address", client.get_address()])


def _owner() -> str:
    """Return who submits: a user of a container may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
