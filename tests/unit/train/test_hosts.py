"""A run over two hosts, its checkpoints on a third: the link of one is cut, nothing is lost."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.models.load import load_model
from raykd.ray_cluster.connect import LOCAL
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run

from tests.hosts import Host, hosts, obstacle
from tests.small_runs import small_data, small_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NUM_STEPS = 300
EVERY_STEPS = 50

_PORT = 8000
"""Of the store, which has all ports of its host to itself."""

_LIMIT_SECONDS = 400
_COPY = """
import fsspec, sys
store = fsspec.filesystem("s3")
store.makedirs("bucket", exist_ok=True)
getattr(store, sys.argv[1])(*sys.argv[2:], recursive=True)
"""


class Site:
    """Two hosts that train, and one that stores."""

    def __init__(self, directory: Path, first: Host, second: Host, store: Host) -> None:
        self.hosts = (first, second)
        self._directory = directory
        self._store = store
        self._log = directory / "log"
        # What other tests have set for the Ray of this process leads to its own loopback.
        foreign = ("RAY_", "GLOO_")
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(foreign)
        } | {
            "AWS_ENDPOINT_URL": f"http://{store.address}:{_PORT}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONPATH": str(Path(__file__).parents[3]),
        }

    @contextmanager
    def stored(self) -> Iterator[None]:
        """Serve S3 while the block runs."""
        server = ("-m", "moto.server", "-H", self._store.address, f"-p{_PORT}")
        with self.started(self._store, *server):
            self.wait_for("Running on")
            yield

    @contextmanager
    def started(self, host: Host, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run Python on a host, not longer than the block."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                host.command(sys.executable, *arguments),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def copy(self, way: str, source: str, target: str) -> None:
        """Copy a directory to or from the store: ``put`` or ``get``."""
        with self.started(self.hosts[0], "-c", _COPY, way, source, target) as process:
            assert process.wait(_LIMIT_SECONDS) == 0, self.printed

    @contextmanager
    def trained(self, file: Path, size: int) -> Iterator[subprocess.Popen[bytes]]:
        """Start the workers of a run, one on each host; give the first."""
        worker = Path(__file__).with_name("worker_on_host.py")
        meeting = self._directory / f"meeting-of-{size}"
        common = (str(worker), str(file))
        with self.started(self.hosts[0], *common, "0", str(size), str(meeting)) as first:
            if size == 1:
                yield first
                return
            with self.started(self.hosts[1], *common, "1", str(size), str(meeting)):
                yield first

    @property
    def printed(self) -> str:
        """What all programs have printed."""
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until a program has printed something."""
        end = time.monotonic() + _LIMIT_SECONDS
        pause = threading.Event()
        while text not in self.printed:
            assert time.monotonic() < end, self.printed[-5_000:]
            pause.wait(0.05)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if reason := obstacle():
        pytest.skip(reason)
    with hosts(3) as (first, second, store):
        site = Site(tmp_path, first, second, store)
        with site.stored():
            yield site


def run_in(place: str) -> RunConfig:
    """Return a run whose data is in a place, and which writes there."""
    return small_run(
        Path(place),
        data={"uri": f"{place}/data", "num_lanes": 6, "shuffle_window": 2},
        output_uri=f"{place}/runs",
        train__num_steps=NUM_STEPS,
        train__eval_every_steps=EVERY_STEPS,
        checkpoint={"every_steps": EVERY_STEPS},
        # Rounding differs between numbers of workers, and Adam enlarges it.
        optimizer={"learning_rate": 1e-4},
    )


def test_a_run_over_hosts_goes_on_where_the_link_of_one_is_cut(site: Site, tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    alone, config = run_in(str(tmp_path)), run_in("s3://bucket")
    nobody = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    assert train_run(alone, fresh=False, address=LOCAL, listener=nobody).is_done
    site.copy("put", str(tmp_path / "data"), "bucket/data")
    file = tmp_path / "run.yaml"
    file.write_text(as_yaml(config))
    with site.trained(file, size=2) as worker:
        # The checkpoint before that is there.
        site.wait_for(f"evaluated after step {3 * EVERY_STEPS}\n")
        site.hosts[1].cut()
        assert worker.wait(_LIMIT_SECONDS) == 1
    assert "HungWorkerError: worker 1 did not come where " in site.printed
    # It goes on with what is left.
    with site.trained(file, size=1) as worker:
        assert worker.wait(_LIMIT_SECONDS) == 0, site.printed[-5_000:]
    assert site.printed.count(f"evaluated after step {EVERY_STEPS}\n") == 1
    fetched = tmp_path / "fetched"
    # This process does not reach the store; the same content is the same run anywhere.
    site.copy("get", f"bucket/runs/{run_paths(alone).name}", str(fetched))
    records = read_metrics(str(fetched / "metrics.jsonl"))
    steps = [record["step"] for record in records if "train/loss" in record]
    assert steps == list(range(1, NUM_STEPS + 1))
    expected = weights(run_paths(alone).model, alone)
    for name, tensor in weights(str(fetched / "model"), config).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-4, rtol=1e-4)


def weights(model: str, config: RunConfig) -> dict[str, torch.Tensor]:
    return dict(load_model(model, config.task, labels=None).state_dict())
