"""The jobs of one cluster, through the server that its head has for them."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import ClusterError, ConfigError
from raykd.jobs.address import is_own, job_server, require_answer
from raykd.jobs.job import Job

DRIVER_RESOURCE = "raykd_driver"
"""Where a cluster has it, there the driver of a job runs; else on the head."""

_DRIVER_SHARE = 0.01
_MOST_NODES = 10_000
_LOOK_SECONDS = 30.0
"""After so long without a line the job is asked for: the connection may be dead."""

_TALKATIVE = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
_PACKAGE = "raykd_package"
_OWNER = "raykd_owner"
_MODE = "RAY_AUTH_MODE"
_WHERE_FROM = (
    "Ray takes the first of RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names and "
    "~/.ray/auth_token; there must be the token of this cluster, which `ray get-auth-token` "
    "prints on its head"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A job to start."""

    id: str
    command_line: str
    package: Path
    """ZIP file of what it needs."""

    package_hash: str
    owner: str
    """Who submits it."""

    environment: dict[str, str]


class Cluster:
    """The jobs of the cluster at an address.

    Args:
        address: Of its job server, such as http://HOST:8265.

    Raises:
        ConfigError: None is there, it refuses the token, or it is of another version of Ray.
    """

    def __init__(self, address: str) -> None:
        self.address = job_server(address)
        require_answer(self.address)
        # Ray prefers this to what it is given.
        os.environ["RAY_API_SERVER_ADDRESS"] = self.address
        # What Ray starts asks for the token, if there is one; its clients send none unasked.
        if _has_token():
            os.environ.setdefault(_MODE, "token")
        from ray.job_submission import JobSubmissionClient  # noqa: PLC0415  its environment is set above

        import ray  # noqa: PLC0415  as above

        # They tell of every package and every connection, whatever is asked of those above them.
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        with self._named(ConfigError):
            self._client = JobSubmissionClient(self.address)
        theirs = self._client._server_ray_version  # noqa: SLF001  Ray says it nowhere else
        if theirs.split(".")[:2] != ray.__version__.split(".")[:2]:
            message = (
                f"{self.address}: the cluster runs Ray {theirs}, here is {ray.__version__}; "
                "install the same on both: what one version packs another may not read"
            )
            raise ConfigError(message)

    def jobs(self) -> list[Job]:
        """Return all submitted jobs, the latest first."""
        with self._named(ClusterError):
            found = self._client.list_jobs()
        jobs = [_job(details) for details in found if details.submission_id]
        return sorted(jobs, key=lambda job: job.submitted_at or 0.0, reverse=True)

    def job(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            ConfigError: The cluster does not know it.
        """
        with self._named(ClusterError):
            try:
                return _job(self._client.get_job_info(job_id))
            except RuntimeError as error:
                if "status code 404" not in str(error):
                    raise
        message = (
            f"{self.address}: has no job {job_id}; `raykd list` shows those that it has. A head "
            "that has started anew knows no job from before"
        )
        raise ConfigError(message)

    def start(self, request: Request) -> None:
        """Start a job.

        Raises:
            ConfigError: The cluster refuses it.
        """
        resources = {DRIVER_RESOURCE: _DRIVER_SHARE} if self._has_driver_resource() else None
        with self._named(ConfigError):
            self._client.submit_job(
                entrypoint=request.command_line,
                submission_id=request.id,
                runtime_env={
                    "working_dir": str(request.package),
                    "env_vars": request.environment,
                },
                metadata={_PACKAGE: request.package_hash, _OWNER: request.owner},
                entrypoint_num_cpus=0,
                entrypoint_resources=resources,
            )

    def stop(self, job_id: str) -> None:
        """Ask a job to leave; it may take its time."""
        with self._named(ClusterError):
            self._client.stop_job(job_id)

    def log(self, job_id: str) -> str:
        """Return what a job has printed so far."""
        with self._named(ClusterError):
            return str(self._client.get_job_logs(job_id))

    def follow(self, job_id: str, on_text: Callable[[str], None]) -> None:
        """Hand on what a job prints, from its beginning, until its end.

        While it is silent, an empty text says now and then that the cluster is there.

        Raises:
            ClusterError: The connection is lost.
        """
        with self._named(ClusterError):
            asyncio.run(self._tail(job_id, on_text))

    async def _tail(self, job_id: str, on_text: Callable[[str], None]) -> None:
        texts = self._client.tail_job_logs(job_id)
        while True:
            coming = asyncio.ensure_future(anext(texts, None))
            while not (await asyncio.wait({coming}, timeout=_LOOK_SECONDS))[0]:
                if self.job(job_id).is_over:
                    coming.cancel()
                    return
                on_text("")
            if (text := coming.result()) is None:
                return
            on_text(text)

    def is_on_this_machine(self) -> bool:
        """Tell whether all machines of the cluster are this one.

        Its address does not: ``ray dashboard`` and port-forwards lead to others from loopback.
        """
        return all(is_own(node.node_ip) for node in self._nodes())

    def _has_driver_resource(self) -> bool:
        return any(DRIVER_RESOURCE in node.resources_total for node in self._nodes())

    def _nodes(self) -> list[Any]:
        from ray.util.state import list_nodes  # noqa: PLC0415  its environment is set above

        with self._named(ClusterError):
            alive = list_nodes(
                self.address,
                filters=[("state", "=", "ALIVE")],
                limit=_MOST_NODES,
                raise_on_missing_output=False,
            )
        return list(alive)

    @contextmanager
    def _named(self, kind: type[ClusterError | ConfigError]) -> Iterator[None]:
        """Turn whatever Ray raises into one line."""
        import aiohttp  # noqa: PLC0415  --help must be instant
        from ray.exceptions import AuthenticationError  # noqa: PLC0415  its environment is set above
        from ray.util.state.exception import RayStateApiException  # noqa: PLC0415  as above

        failures = (OSError, RuntimeError, ValueError, aiohttp.ClientError, RayStateApiException)
        try:
            yield
        except AuthenticationError as error:
            raise ConfigError(self._token_message(str(error))) from error
        except BrokenPipeError:
            # Of whoever reads what is shown: clients raise their own for a connection.
            raise
        except failures as error:
            message = f"{self.address}: {_reason(error)}"
            raise kind(message) from error

    def _token_message(self, told: str) -> str:
        if told.startswith("Authentication failed"):
            return f"{self.address}: refuses the token; {_WHERE_FROM}"
        if os.environ.get(_MODE) == "disabled":
            return f"{self.address}: asks for a token, but {_MODE} is disabled here; unset it"
        return f"{self.address}: asks for a token, and none is found here; {_WHERE_FROM}"


def _has_token() -> bool:
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or Path("~/.ray/auth_token").expanduser().exists()


def _reason(error: Exception) -> str:
    """Return the last line of what Ray says: before it are the tracebacks of its servers."""
    lines = [line for line in str(error).splitlines() if line.strip(" .")]
    return lines[-1].strip() if lines else type(error).__name__


def _job(details: Any) -> Job:
    metadata = details.metadata or {}
    return Job(
        id=details.submission_id or details.job_id,
        status=str(details.status.value),
        command_line=details.entrypoint,
        message=details.message or "",
        submitted_at=_seconds(details.start_time),
        ended_at=_seconds(details.end_time),
        exit_code=details.driver_exit_code,
        package=metadata.get(_PACKAGE),
        owner=metadata.get(_OWNER),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if not milliseconds else milliseconds / 1000
