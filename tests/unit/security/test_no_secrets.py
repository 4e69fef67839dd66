"""What raykd writes and prints never holds the credentials that it was given."""

import logging
import traceback
from pathlib import Path
from typing import Any

import fsspec
import pytest
from raykd.cli.main import main as raykd
from raykd.config.load import as_yaml
from raykd.errors import StorageError
from raykd.runs.paths import run_paths
from raykd.storage import uris
from raykd.storage.remote.complaints import redacted

from tests.servers.ports import number_of, reserve_port
from tests.small_runs import small_data, small_run
from tests.sweep_files import write_runs, write_sweep
from tests.sweeps import rich_ledger, write_ledger
from tests.unit.security.markers import MARKERS, hide_markers, marked_in

# MLflow's tables are declared in a way that SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture
def marked_s3(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a bucket that is reached with the markers as credentials."""
    hide_markers(monkeypatch)
    return s3_uri


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    """Return a function that gives all that was printed and logged since the last call."""
    caplog.set_level(logging.INFO, logger="raykd")
    return lambda: "".join(capfd.readouterr()) + caplog.text


def stored(uri: str) -> dict[str, bytes]:
    return {name: uris.read_bytes(f"{uri}/{name}") for name in uris.list_files(uri)}


def test_the_markers_are_found_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text(f"secret={MARKERS['WANDB_API_KEY']}")
    (tmp_path / "clean").write_text("secret=***")
    assert marked_in(tmp_path) == ["plain: WANDB_API_KEY"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_leaves_no_secret_in_storage_or_in_what_it_prints(
    marked_s3: str, tmp_path: Path, printed: Any
) -> None:
    small_data(tmp_path / "data")
    tracking = {"tensorboard": True, "mlflow": str(tmp_path / "mlflow"), "wandb": "project"}
    config = small_run(tmp_path, output_uri=f"{marked_s3}/runs", tracking=tracking)
    file = tmp_path / "run.yaml"
    file.write_text(as_yaml(config))
    run = run_paths(config).run
    assert raykd(["check", str(file)]) == 0
    assert raykd(["train", str(file)]) == 0
    assert raykd(["evaluate", run]) == 0
    assert raykd(["export", run, "--output", f"{marked_s3}/exported"]) == 0
    told = printed()
    assert run in told
    assert marked_in(told) == []
    files = stored(marked_s3)
    written = "\n".join(files)
    for needed in ("run.yaml", "metrics.jsonl", "state.json", "model/README.md", ".wandb"):
        assert needed in written
    assert marked_in(files) == []
    assert (tmp_path / "mlflow" / "mlflow.db").exists()
    assert marked_in(tmp_path) == []


def test_a_sweeps_plan_ledger_and_report_hold_no_secret(
    marked_s3: str, tmp_path: Path, printed: Any
) -> None:
    sweep = write_sweep(
        write_runs(tmp_path),
        {
            "output_uri": f"{marked_s3}/sweeps",
            "runs_uri": f"{marked_s3}/runs",
            "teachers": {},
            "controls": False,
            "overrides": {"teachers": {}, "losses": {"cross_entropy": {}}},
            "search": {"optimizer.learning_rate": {"grid": [1e-3, 1e-2]}},
        },
    )
    assert raykd(["check", str(sweep)]) == 0
    write_ledger(rich_ledger(f"{marked_s3}/sweeps/rich"))
    assert raykd(["report", f"{marked_s3}/sweeps/rich"]) == 0
    assert marked_in(stored(marked_s3)) == []
    assert marked_in(printed()) == []
    assert marked_in(tmp_path) == []


def test_an_endpoint_with_a_password_is_not_repeated_not_even_in_tracebacks(
    monkeypatch: pytest.MonkeyPatch, printed: Any
) -> None:
    hide_markers(monkeypatch)
    with reserve_port() as nobody:
        address = f"me:{MARKERS['userinfo']}@127.0.0.1:{number_of(nobody)}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}")
        fsspec.filesystem("s3").clear_instance_cache()
        with uris.retry_for(0), pytest.raises(StorageError, match="check AWS_ENDPOINT") as told:
            uris.read_bytes("s3://bucket/x")
    assert marked_in("".join(traceback.format_exception(told.value))) == []
    assert marked_in(printed()) == []


def test_a_refused_request_does_not_repeat_its_signature() -> None:
    text = "GET http://host/b/k?X-Amz-Signature=abc&X-Amz-Security-Token=def&x=1: denied"
    assert redacted(text) == (
        "GET http://host/b/k?X-Amz-Signature=***&X-Amz-Security-Token=***&x=1: denied"
    )
    assert redacted("s3://key:secret@bucket/x") == "s3://***@bucket/x"


def test_an_error_of_storage_has_no_password_of_its_uri() -> None:
    with pytest.raises(StorageError) as raised:
        uris.read_bytes(f"nosuchscheme://me:{MARKERS['userinfo']}@host/x")
    assert marked_in(str(raised.value)) == []
