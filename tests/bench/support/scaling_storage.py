"""What workers and trials ask of an object store: requests, counted in front of a real server."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from raykd.storage.leases.lease import held_lease
from raykd.storage.published.places import Part
from raykd.storage.published.publishing import Publication, publish_part
from raykd.train.run import Listener, train_run

from tests.conftest import set_s3_environment
from tests.servers.proxy import Proxy
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY, Rclone
from tests.small_runs import small_data, small_run

BUCKET = "bench"
URI = f"s3://{BUCKET}"

_READS = ("Get", "Head", "List")


@dataclass(frozen=True, kw_only=True, slots=True)
class Requests:
    """What a store is asked, as it counts: its limits are for these two."""

    reads: float
    """GET and HEAD, and lists."""

    writes: float
    """PUT, POST and DELETE."""

    def __sub__(self, other: "Requests") -> "Requests":
        return Requests(reads=self.reads - other.reads, writes=self.writes - other.writes)

    def each(self, count: float) -> "Requests":
        """Return the share of one of so many."""
        return Requests(reads=self.reads / count, writes=self.writes / count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """A bucket behind a proxy that logs requests."""

    proxy: Proxy
    directory: Path
    """Where the server keeps the bucket's objects as files."""

    @contextmanager
    def counting(self) -> Iterator[Callable[[], Requests]]:
        """Count the requests of a block; what is yielded tells them at any time."""
        self.proxy.forget()
        yield lambda: self._seen("")

    def _seen(self, pattern: str) -> Requests:
        reads = self.proxy.count(rf"^({'|'.join(_READS)}).*{pattern}")
        return Requests(reads=reads, writes=self.proxy.count(pattern) - reads)


@contextmanager
def counted_store(directory: Path) -> Iterator[Store]:
    """Serve an empty bucket."""
    with (
        closing(Rclone(directory / "buckets", directory / "rclone.log")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.start()
        with closing(Proxy(server.port)) as proxy:
            proxy.start()
            set_s3_environment(patch, proxy.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
            boto3.Session().client("s3", endpoint_url=server.endpoint).create_bucket(Bucket=BUCKET)
            yield Store(proxy=proxy, directory=server.directory / BUCKET)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFigures:
    """What it takes to publish one directory from so many workers."""

    requests: Requests
    seconds: float
    """On this machine, server and all."""


def checkpoint_figures(store: Store, num_workers: int) -> CheckpointFigures:
    """Publish a checkpoint as workers do, a thread for each, with one small file of each."""
    uri, token = f"{URI}/checkpoints/{num_workers}", "bench"

    def write(publication: Publication) -> None:
        (publication.path / f"adamw-{publication.path.parent.name}").write_bytes(bytes(100))

    def bring(index: int) -> None:
        part = Part(index=index, count=num_workers, token=token)
        publish_part(uri, kind="checkpoint", part=part, write=write, num_bytes=100)

    started = time.perf_counter()
    with store.counting() as seen, ThreadPoolExecutor(num_workers) as workers:
        list(workers.map(bring, range(num_workers)))
        requests = seen()
    return CheckpointFigures(requests=requests, seconds=time.perf_counter() - started)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRequests:
    """What one run without Ray asks for."""

    start_and_end: Requests
    checkpoint: Requests
    """Each, retention of old ones included."""

    heartbeat: Requests
    """Of its lease."""


def run_requests(store: Store, directory: Path) -> RunRequests:
    """Train with few and with many checkpoints, and hold a lease for a heartbeat."""
    small_data(directory / "data")
    few, many = (_of_run(store, directory, every_steps=every) for every in (12, 2))
    # 1 and 6 checkpoints.
    checkpoint = (many - few).each(5)
    lease = f"{URI}/lease.json"
    with held_lease(lease, has_workers=False), store.counting() as seen:
        while not store.proxy.count("^PutObject .*lease"):
            time.sleep(0.1)
        heartbeat = seen()
    return RunRequests(start_and_end=few - checkpoint, checkpoint=checkpoint, heartbeat=heartbeat)


def _of_run(store: Store, directory: Path, *, every_steps: int) -> Requests:
    config = small_run(
        directory,
        name=f"every-{every_steps}",
        output_uri=f"{URI}/runs",
        train__num_steps=12,
        train__eval_every_steps=12,
        checkpoint__every_steps=every_steps,
    )
    listener = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    with store.counting() as seen:
        train_run(config, fresh=False, address="local", listener=listener)
        return seen()
