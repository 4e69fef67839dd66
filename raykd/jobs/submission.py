"""What a job is: its command line, its id, its environment. Pure functions."""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from raykd.errors import ConfigError

COMMANDS = ("prepare", "train", "cache", "sweep", "report")
"""What may be submitted."""

PASSED = (
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "MLFLOW_TRACKING_URI",
    "WANDB_BASE_URL",
    "WANDB_ENTITY",
    "WANDB_MODE",
)
"""Variables that say where things are, none of them secret. A job has them from its submitter."""

STOP_SECONDS = 600
"""A job that is to stop has so long to write a checkpoint; by Ray's default, 3 seconds."""

_STOP = "RAY_JOB_STOP_WAIT_TIME_S"
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def entrypoint(words: Sequence[str], *, joins: bool, directory: Path | None) -> str:
    """Return the shell command of a job.

    Args:
        words: The command of raykd and its arguments.
        joins: Whether the command trains on a cluster, and so on this one.
        directory: Where the job runs, on this machine; None for where its package is unpacked.
    """
    # Before the user's words: argparse takes the last of an option that is given twice.
    address = ["--address", "auto"] if joins else []
    given = shlex.join([words[0], *address, *words[1:]])
    if directory is None:
        # exec: what Ray polls and signals is Python itself, not a shell around it, which SIGTERM
        # would end at once while Python still writes its checkpoint.
        return f"exec python -m raykd {given}"
    # -P: the code is that of the package, in the driver as in the workers.
    return f"cd {shlex.quote(str(directory))} && exec python -P -m raykd {given}"


def submission_id(
    command: str, study: str, *, command_line: str, files: Mapping[str, bytes]
) -> str:
    """Return the id of a job: the same for the same command line on the same configuration.

    Args:
        command: Name of a command of raykd.
        study: What it is about, in a word.
        command_line: What the shell runs.
        files: The configuration that the command reads, by path.
    """
    # By content: an edited configuration is another job, not one to attach to.
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    text = json.dumps([command_line, hashes], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return "-".join(filter(None, [command, _NO_NAME.sub("-", study).strip("-."), digest]))


def next_start(name: str, is_over: Mapping[str, bool]) -> tuple[str, bool]:
    """Return the id of the start of a submission that runs, or else of its next one.

    Args:
        name: Id of the first start. Ray gives an id once: the second start is NAME-2.
        is_over: Whether each job of the cluster has ended, by its id.

    Returns:
        The id, and whether it runs already.
    """
    starts = [job_id for job_id in is_over if re.fullmatch(rf"{re.escape(name)}(-\d+)?", job_id)]
    for job_id in starts:
        if not is_over[job_id]:
            return job_id, True
    return f"{name}-{len(starts) + 1}" if starts else name, False


def job_environment(here: Mapping[str, str], asked: Sequence[str]) -> dict[str, str]:
    """Return the variables of a job and of all its workers.

    Args:
        here: The environment of the submitter.
        asked: More of them: NAME takes the value from here, NAME=VALUE has its own.

    Raises:
        ConfigError: One that is asked for is not set.
    """
    environment = {_STOP: str(STOP_SECONDS)} | {
        name: here[name] for name in PASSED if name in here
    }
    for word in asked:
        name, has_value, value = word.partition("=")
        if not has_value and name not in here:
            message = f"--env {name}: is not set here; set it, or give --env {name}=VALUE"
            raise ConfigError(message)
        environment[name] = value if has_value else here[name]
    return environment
