"""A Ray that raykd starts listens on loopback alone, asks for its token, and keeps no secret."""

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
from raykd.cli.main import main as raykd
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.runs.metrics import Record
from raykd.runs.stop import StopReason
from raykd.train.run import Listener, train_run

from tests.small_runs import small_data, small_run
from tests.sweep_files import write_runs, write_sweep
from tests.unit.security.markers import hide_markers, marked_in

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

NUM_LOOKS = 6


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for temporary files whose name leaves no room for that of a socket."""
    return tmp_path_factory.mktemp("x" * 60)


@pytest.fixture(scope="module")
def node(temporary: Path) -> Iterator[Any]:
    """Start a Ray whose processes have the markers as credentials; return its node."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TMPDIR", str(temporary))
        monkeypatch.setattr("tempfile.tempdir", None)
        hide_markers(monkeypatch)
        monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
        # Of a program that has imported Ray before, it would else listen everywhere.
        import ray  # noqa: PLC0415  after its environment

        with ray_cluster(LOCAL, num_cpus=3, num_gpus=0):
            yield ray._private.worker.global_worker.node


def listening() -> dict[str, set[str]]:
    """Return where this process and all that it has started listen, by the name of the process."""
    found: dict[str, set[str]] = {}
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            name, sockets = process.name(), process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        addresses = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
        found[name] = found.get(name, set()) | addresses
    return found


def elsewhere(found: dict[str, set[str]]) -> dict[str, list[str]]:
    """Return the addresses that others than this machine reach."""
    return {
        name: beyond
        for name, addresses in found.items()
        if (beyond := sorted(a for a in addresses if not _is_loopback(a)))
    }


def _is_loopback(address: str) -> bool:
    parsed = ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def test_a_ray_of_raykd_listens_on_loopback_alone(node: Any) -> None:
    found = listening()
    # Its parts are among them: the head, the node, the dashboard.
    assert {"gcs_server", "raylet", "ray::DashboardAgent"} <= found.keys()
    assert elsewhere(found) == {}


def test_its_sockets_have_room_and_its_workers_the_temporary_files(
    node: Any, temporary: Path
) -> None:
    import ray  # noqa: PLC0415  after its environment

    assert not Path(node.plasma_store_socket_name).is_relative_to(temporary)
    assert Path(os.environ["TMPDIR"]) == temporary
    assert Path(ray.get(ray.remote(tempfile.gettempdir).remote())) == temporary


def test_its_workers_have_the_priority_of_who_started_it(node: Any) -> None:
    import ray  # noqa: PLC0415  after its environment

    priority = ray.remote(lambda: os.nice(0))
    assert ray.get(priority.remote()) == os.nice(0)


def test_the_workers_of_a_run_listen_on_loopback_alone(node: Any, tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    # More steps than it takes: it is stopped once its workers have been looked at some times.
    config = small_run(tmp_path, train__num_steps=100_000, cluster={"num_workers": 2})
    seen: list[dict[str, set[str]]] = []

    def look(record: Record) -> None:
        if not has_seen_workers():
            seen.append(listening())

    def has_seen_workers() -> bool:
        return sum(any("RayTrainWorker" in name for name in found) for found in seen) == NUM_LOOKS

    listener = Listener(on_record=look, on_message=print, should_stop=has_seen_workers)
    result = train_run(config, fresh=False, address=LOCAL, listener=listener)
    assert result.stop_reason is StopReason.STOPPED
    assert [beyond for found in seen if (beyond := elsewhere(found))] == []


@pytest.mark.parametrize("path", ["/api/version", "/api/jobs/", "/nodes?view=summary"])
def test_the_dashboard_answers_nobody_without_the_token(node: Any, path: str) -> None:
    url = f"http://{node.address_info['webui_url']}{path}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=30)
    refused.value.close()
    assert refused.value.code == HTTPStatus.UNAUTHORIZED


def test_raykd_never_turns_the_token_off(node: Any) -> None:
    assert os.environ.get("RAY_AUTH_MODE", "token") == "token"
    root = Path(__file__).parents[2]
    files = [path for part in ("raykd", "jobs") for path in (root / part).rglob("*.py")]
    assert not [path for path in files if "AUTH_MODE" in path.read_text("utf-8")]


def test_a_sweep_leaves_no_secret_in_its_files_or_in_the_logs_of_ray(
    node: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(
        write_runs(tmp_path),
        {
            "teachers": {},
            "controls": False,
            "overrides": {"teachers": {}, "losses": {"cross_entropy": {}}},
            "search": {"optimizer.learning_rate": {"grid": [1e-3, 1e-2]}},
        },
    )
    assert raykd(["sweep", str(path)]) == 0
    assert marked_in("".join(capfd.readouterr())) == []
    assert list(tmp_path.glob("sweeps/study/records/*.json"))
    assert marked_in(tmp_path) == []
    logs = Path(node.get_session_dir_path(), "logs")
    assert (logs / "gcs_server.out").exists()
    assert marked_in(logs) == []
