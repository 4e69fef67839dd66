"""What workers and trials ask of an object store: requests, counted in front of a real server."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import boto3
import pytest
from raykd import storage
from raykd.config.load import plain
from raykd.published.places import Part
from raykd.published.publishing import Publication, publish_part
from raykd.sweep.ledger import Record, State, SweepPaths, read_ledger, write_index
from raykd.sweep.study import Limits, Study
from raykd.train.lease import held_lease
from raykd.train.paths import RunPaths
from raykd.train.run import Listener, train_run
from raykd.train.worker import RunResult

from tests.conftest import set_s3_environment
from tests.servers.proxy import Proxy
from tests.servers.rclone import ACCESS_KEY, SECRET_KEY, Rclone
from tests.small_runs import small_data, small_run
from tests.sweep_files import expanded, sweep_in, write_runs
from tests.sweeps import NUM_STEPS, evaluations_of, trial_of

BUCKET = "bench"
URI = f"s3://{BUCKET}"

_READS = ("Get", "Head", "List")
_NUM_EVALUATIONS = 20


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
            boto3.client("s3", endpoint_url=server.endpoint).create_bucket(Bucket=BUCKET)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerFigures:
    """What the driver of a sweep does for so many trials at a time."""

    start: Requests
    """Of one run, handed out and begun."""

    evaluation: Requests
    """Of one evaluation of one run, where every one is flushed."""

    end: Requests
    """Of one run, the metrics and the result that the driver reads included."""

    record_bytes: int
    """At the end of a run."""

    driver_seconds: float
    """CPU time of one run from start to end, the client of the store included."""

    flush_seconds: float
    """To write the records of all runs at once, on this machine, server and all."""

    resume_seconds: float
    """To read the whole ledger again, likewise."""


def ledger_figures(store: Store, directory: Path, num_trials: int) -> LedgerFigures:
    """Bring a study whose runs all go at a time to its end; nothing is trained."""
    uri = f"{URI}/sweeps/{num_trials}"
    records = _trials(directory, num_trials)
    paths = SweepPaths(sweep=uri)
    write_index(
        paths, sweep={"name": "bench"}, text="name: bench\n", run_ids=[r.id for r in records]
    )
    sweep = sweep_in(directory)
    study = Study(sweep, paths, records, limits=Limits(at_once=num_trials))
    started_cpu = time.process_time()
    with store.counting() as seen:
        while (record := study.next_run()) is not None:
            study.started(record.id)
        start = seen()
    final = evaluations_of([5 - i / _NUM_EVALUATIONS for i in range(_NUM_EVALUATIONS)])
    for metrics in final[:-1]:
        for record in records:
            study.reported(record.id, metrics)
    study.flush()
    with store.counting() as seen:
        # One evaluation of every run between two flushes.
        for record in records:
            study.reported(record.id, final[-1])
        flushing = time.perf_counter()
        study.flush()
        flush_seconds = time.perf_counter() - flushing
        evaluation = seen()
    driver_seconds = time.process_time() - started_cpu
    _leave_results(records)
    started_cpu = time.process_time()
    with store.counting() as seen:
        for record in records:
            study.ended(record.id)
        end = seen()
    driver_seconds += time.process_time() - started_cpu
    reading = time.perf_counter()
    ledger = read_ledger(uri)
    resume_seconds = time.perf_counter() - reading
    assert {r.state for r in ledger.records.values()} == {State.DONE}
    written = store.directory / "sweeps" / str(num_trials) / "records"
    return LedgerFigures(
        start=start.each(num_trials),
        evaluation=evaluation.each(num_trials),
        end=end.each(num_trials),
        record_bytes=max(path.stat().st_size for path in written.iterdir()),
        driver_seconds=driver_seconds / num_trials,
        flush_seconds=flush_seconds,
        resume_seconds=resume_seconds,
    )


def _trials(directory: Path, num_trials: int) -> list[Record]:
    """Return trials whose configuration is as long as that of real ones."""
    if not (directory / "base.yaml").exists():
        write_runs(directory)
    run = expanded(sweep_in(directory))[1][0]
    config = plain(run.config)
    trials = (
        trial_of({"teacher": "small", "seed": seed}, seed=seed) for seed in range(num_trials)
    )
    return [
        replace(t, config=config, state=State.WAITING, run_uri=f"{URI}/runs/{t.id}")
        for t in trials
    ]


def _leave_results(records: Iterable[Record]) -> None:
    """Leave what finished runs do."""
    lines = [json.dumps(metrics) for metrics in evaluations_of([4.0, 3.0, 2.0])]
    contents = {}
    for record in records:
        paths = RunPaths(record.run_uri)
        result = RunResult(
            is_done=True, step=NUM_STEPS, num_steps=NUM_STEPS, metrics={}, model_uri=paths.model
        )
        contents[paths.metrics] = "\n".join(lines).encode()
        contents[paths.result] = json.dumps(asdict(result)).encode()
    storage.write_many(contents)
