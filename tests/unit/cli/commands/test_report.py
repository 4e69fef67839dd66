"""raykd report finds a sweep by its directory or its file, and watches it to its end."""

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from raykd.cli.commands.report import run, watch
from raykd.cli.main import parse
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.leases.records import Lease, write_lease
from raykd.sweep.ledger import State, SweepPaths
from rich.console import Console

from tests.sweeps import (
    COMMAND,
    driver,
    evaluations_of,
    ledger_of,
    rich_ledger,
    trial_of,
    write_ledger,
)


def reported(*words: str) -> int:
    options = parse(["report", *words])
    return run(options, options.load(options))


def finish(uri: str) -> Callable[[], None]:
    """Return a pause in which nothing happens, then one in which the sweep ends."""
    ends = iter([False, True])
    return lambda: write_ledger(rich_ledger(uri, is_over=next(ends)))


def test_a_sweeps_directory_is_reported_and_gets_its_files(
    storage_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = uris.join(storage_uri, "rich")
    write_ledger(rich_ledger(uri))
    assert reported(uri) == 0
    shown = capsys.readouterr().out
    assert "rich: 54 of 58 trials done" in shown
    assert "/rich/report/report.html" in "".join(shown.split())
    assert len(uris.list_names(f"{uri}/report")) == 5
    assert b"http-equiv" not in uris.read_bytes(f"{uri}/report/report.html")


def test_the_files_go_where_output_says(tmp_path: Path) -> None:
    uri = str(tmp_path / "rich")
    write_ledger(rich_ledger(uri))
    assert reported(uri, "--output", str(tmp_path / "elsewhere")) == 0
    assert (tmp_path / "elsewhere" / "report.html").exists()
    assert not uris.exists(f"{uri}/report")


def test_a_directory_without_a_sweep_is_a_wrong_input(storage_uri: str) -> None:
    with pytest.raises(ConfigError, match="holds no sweep") as caught:
        reported(uris.join(storage_uri, "nothing"))
    assert caught.value.exit_status == 2
    assert uris.list_names(storage_uri) == []


def test_a_sweep_file_says_where_its_directory_is(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: study\nbase: run.yaml\noutput_uri: {tmp_path}/sweeps\n")
    ours, theirs = tmp_path / "sweeps" / "study", tmp_path / "others" / "study"
    for uri in (ours, theirs):
        write_ledger(rich_ledger(str(uri)))
    assert reported(str(path)) == 0
    assert [(uri / "report").exists() for uri in (ours, theirs)] == [True, False]
    assert reported(str(path), f"output_uri={tmp_path}/others") == 0
    assert (theirs / "report").exists()


def test_a_directory_takes_no_overrides() -> None:
    with pytest.raises(ConfigError, match="give the sweep file"):
        reported("sweeps/study", "output_uri=x")


def test_a_log_gets_a_line_for_each_change_until_the_sweep_is_over(tmp_path: Path) -> None:
    uri, stream = str(tmp_path / "rich"), io.StringIO()
    write_ledger(rich_ledger(uri, is_over=False))
    console = Console(file=stream, width=200)
    watch(uri, f"{uri}/report", console=console, pause=finish(uri))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("rich:")]
    assert [line.rstrip().rsplit(", ", 1)[1] for line in lines] == ["still going", "over", "over"]
    assert json.loads(uris.read_bytes(f"{uri}/report/summary.json"))["is_over"]


def test_a_loss_that_is_not_a_number_is_no_change(tmp_path: Path) -> None:
    uri, stream = str(tmp_path / "study"), io.StringIO()
    diverged = trial_of({}, state=State.RUNNING, evaluations=evaluations_of([math.nan]))
    ends = iter([State.RUNNING, State.FAILED])

    def pause() -> None:
        write_ledger(ledger_of([replace(diverged, state=next(ends))], uri=uri))

    write_ledger(ledger_of([diverged], uri=uri, lease=driver()))
    watch(uri, f"{uri}/report", console=Console(file=stream, width=200), pause=pause)
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("study:")]
    assert [", over" in line for line in lines] == [False, True, True]


def test_the_page_asks_to_be_read_again_while_the_sweep_goes_on(tmp_path: Path) -> None:
    uri, pages = str(tmp_path / "rich"), []
    write_ledger(rich_ledger(uri, is_over=False))
    end = finish(uri)

    def pause() -> None:
        pages.append(uris.read_bytes(f"{uri}/report/report.html"))
        end()

    watch(uri, f"{uri}/report", console=Console(file=io.StringIO()), pause=pause)
    pages.append(uris.read_bytes(f"{uri}/report/report.html"))
    assert [b'http-equiv="refresh"' in page for page in pages] == [True, True, False]


def test_a_terminal_shows_the_report_in_place_and_leaves_it_at_the_end(tmp_path: Path) -> None:
    uri, stream = str(tmp_path / "rich"), io.StringIO()
    write_ledger(rich_ledger(uri, is_over=False))
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)
    watch(uri, f"{uri}/report", console=console, pause=finish(uri))
    assert stream.getvalue().rstrip().endswith("report.html")
    assert stream.getvalue().count("cost of this sweep") >= 1


def test_an_interrupt_ends_the_watch_quietly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    uri = str(tmp_path / "rich")
    write_ledger(rich_ledger(uri, is_over=False))
    assert reported(uri, "--watch") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "not watched any more; the sweep itself goes on"
    assert uris.exists(f"{uri}/report/report.html")


@pytest.mark.parametrize("left", [None, driver(silent_seconds=60)])
def test_a_sweep_whose_driver_has_gone_is_not_watched_for_ever(
    tmp_path: Path, left: Lease | None
) -> None:
    uri, stream = str(tmp_path / "rich"), io.StringIO()
    write_ledger(rich_ledger(uri, is_over=False))
    lease = SweepPaths(sweep=uri).lease
    console = Console(file=stream, width=200)
    watch(
        uri,
        f"{uri}/report",
        console=console,
        pause=lambda: uris.delete(lease) if left is None else write_lease(lease, left),
    )
    last = stream.getvalue().rpartition("rich: ")[2]
    assert f"The same command goes on: {COMMAND}" in last
    assert last.splitlines()[0].endswith("stopped" if left is None else "not going on")
    assert "running" not in last
    assert b'http-equiv="refresh"' not in uris.read_bytes(f"{uri}/report/report.html")


def test_a_sweep_whose_driver_was_dead_from_the_start_is_not_watched(tmp_path: Path) -> None:
    uri = str(tmp_path / "rich")
    dead = driver(silent_seconds=60)
    write_ledger(replace(rich_ledger(uri, is_over=False), lease=dead))
    watch(uri, f"{uri}/report", console=Console(file=io.StringIO()), pause=pytest.fail)
    summary = json.loads(uris.read_bytes(f"{uri}/report/summary.json"))
    assert summary["standing"] == {
        "kind": "dead",
        "driver": f"process {dead.process_id} on {dead.host}",
        "heard_at": dead.heartbeat,
        "command": COMMAND,
    }
