"""Run a command on a cluster: raykd submit sweep configs/sweeps/demo.yaml --address URL.

Packs the files below this directory that git tracks, as they are now, starts the command on the
cluster's head and shows what it prints; ends with its exit status. Ctrl-C, or a terminal that is
lost, leaves the job running, and the same command attaches to it again. After its end the same
command starts it once more, and it goes on where it stands, for what it has done is in storage.

Where all machines of the cluster are this one, the job runs in this directory, and its places are
the same as without a cluster. On other machines there is no such directory: places that are
relative to it, as output_uri, runs_uri, data.uri or --output, are refused; give a URI such as
s3://bucket/runs, or a path that all machines share.

The job is told where stores and servers are (AWS_ENDPOINT_URL, AWS_REGION, HF_ENDPOINT,
MLFLOW_TRACKING_URI, WANDB_MODE and the like), and no secret: give the machines a role, or ask for
more with --env, which everybody who reaches the cluster can read. The token of the cluster is
Ray's: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token.
`raykd list` shows who has submitted a job: the name of the user here.
"""

import argparse
import getpass
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from raykd.cli.job_commands import add_cluster_arguments, again, connected, followed
from raykd.config.credentials import refuse_credentials
from raykd.jobs.package import (
    TrackedFile,
    megabytes,
    require_small,
    require_tracked,
    total_bytes,
    tracked_files,
    write_package,
)
from raykd.jobs.places import configuration, require_reachable
from raykd.jobs.submission import COMMANDS, decide, entrypoint, job_environment, submission_id

if TYPE_CHECKING:
    from raykd.jobs.cluster import Cluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd submit``; what it does not know is for the command."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("submitted", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
    parser.add_argument(
        "words", nargs="*", metavar="ARGUMENT", help="of the command, as without a cluster"
    )
    add_cluster_arguments(parser)
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="one more variable for the job; may be repeated",
    )
    parser.add_argument(
        "--no-follow", action="store_true", help="end as soon as the job is submitted"
    )


def run(options: argparse.Namespace) -> int:
    """Submit or attach, and follow; return the exit status of the job."""
    here = Path.cwd()
    environment = job_environment(os.environ, options.env)
    refuse_credentials(environment, origin="the environment of the job")
    told = configuration(options.parsed)
    files = tracked_files(here)
    require_small(files)
    require_tracked(told.paths, here, files)
    cluster = connected(options)
    is_local = cluster.is_on_this_machine()
    if not is_local:
        require_reachable(told.relative, address=cluster.address)
    words = [options.submitted, *options.words]
    command_line = entrypoint(
        words, joins="address" in options.parsed, directory=here if is_local else None
    )
    name = submission_id(
        options.submitted,
        told.study,
        command_line=command_line,
        files={str(path): path.read_bytes() for path in told.paths},
    )
    job_id = _start(cluster, name, command_line, files, environment)
    if options.no_follow:
        print(f"follow it: {again(cluster, 'logs', job_id, '--follow')}")
        return 0
    return followed(cluster, job_id)


def _start(
    cluster: "Cluster",
    name: str,
    command_line: str,
    files: list[TrackedFile],
    environment: dict[str, str],
) -> str:
    """Start the job unless it runs already; return its id."""
    from raykd.jobs.cluster import Request  # noqa: PLC0415  --help must be instant

    with tempfile.TemporaryDirectory(prefix="raykd-package-") as scratch:
        package = Path(scratch, "package.zip")
        package_hash = write_package(Path.cwd(), files, package)
        decision = decide(name, cluster.jobs())
        if (job := decision.running) is not None:
            print(f"{job.id}: runs already; attached to it")
            if job.package != package_hash:
                print(
                    f"{job.id}: it runs the files of its own start, and some here are others now; "
                    f"to run these: {again(cluster, 'stop', job.id)}, then submit again"
                )
            return job.id
        print(
            f"{decision.id}: {len(files)} files, {megabytes(total_bytes(files))} "
            f"({megabytes(package.stat().st_size)} packed), to {cluster.address}",
            flush=True,
        )
        cluster.start(
            Request(
                id=decision.id,
                command_line=command_line,
                package=package,
                package_hash=package_hash,
                owner=_owner(),
                environment=environment,
            )
        )
    return decision.id


def _owner() -> str:
    """Return who submits: a user of a container may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
