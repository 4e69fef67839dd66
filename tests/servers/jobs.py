"""A job server as Ray's: one job, and a log whose connections are lost as a test says."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

import ray

JOB = "train-study-1a2b3c4d"


@dataclass(kw_only=True, slots=True)
class JobServer:
    """What the server answers."""

    connections: Sequence[str]
    """What each connection to the log hands on before it is lost; the last one ends with the job.
    """

    knows_job: bool = True
    address: str = ""
    num_connections: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.num_connections >= len(self.connections)

    async def version(self, _request: web.Request) -> web.Response:
        """Say which Ray this is."""
        about = {"ray_version": ray.__version__, "ray_commit": "", "session_name": ""}
        return web.json_response({"version": "4"} | about)

    async def job(self, _request: web.Request) -> web.Response:
        """Describe the job."""
        if not self.knows_job:
            return web.Response(status=404, text="Job does not exist")
        status = "SUCCEEDED" if self.is_over else "RUNNING"
        about = {"type": "SUBMISSION", "submission_id": JOB, "entrypoint": "raykd"}
        return web.json_response(about | {"status": status})

    async def log(self, request: web.Request) -> web.StreamResponse:
        """Send what this connection hands on, and lose it."""
        text = self.connections[self.num_connections]
        self.num_connections += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if text:
            await socket.send_str(text)
        if self.is_over:
            await socket.close()
        elif request.transport is not None:
            request.transport.close()
        return socket


@contextmanager
def job_server(connections: Sequence[str]) -> Iterator[JobServer]:
    """Serve on a free port of loopback while the block runs."""
    server = JobServer(connections=connections)
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/api/version", server.version)
    app.router.add_get("/api/jobs/{job}", server.job)
    app.router.add_get("/api/jobs/{job}/logs/tail", server.log)
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    server.address = "http://{}:{}".format(*runner.addresses[0])
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
