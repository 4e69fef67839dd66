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
from raykd.report.efficiency.latencies import LATENCIES
from raykd.storage import uris
from raykd.storage.leases.records import Lease, write_lease
from raykd.sweep.ledger import SweepPaths
from raykd.sweep.record import State
from rich.console import Console

from tests.sized_ledger import sized_ledger
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


def test_models_are_timed_once_and_not_where_that_is_not_wanted(tmp_path: Path) -> None:
    uri = str(tmp_path / "sized")
    latency, copied = tmp_path / "sized" / "report" / LATENCIES, tmp_path / "elsewhere"
    write_ledger(sized_ledger(uri, runs_uri=str(tmp_path)))
    assert reported(uri, "--no-measure") == 0
    assert not latency.exists()
    assert reported(uri) == 0
    measured = latency.read_bytes()
    assert len(json.loads(measured)) == 3
    # Said again, elsewhere too, as often as one likes.
    for words in ((), ("--no-measure",), ("--output", str(copied))):
        assert reported(uri, *words) == 0
        assert latency.read_bytes() == measured
    assert (copied / LATENCIES).read_bytes() == measured


def test_nothing_is_timed_beside_a_sweep_that_goes_on(tmp_path: Path) -> None:
    uri = str(tmp_path / "sized")
    ledger = sized_ledger(uri, runs_uri=str(tmp_path))
    going = {name: replace(run, state=State.RUNNING) for name, run in ledger.records.items()}
    write_ledger(replace(ledger, records=going, lease=driver()))
    assert reported(uri) == 0
    assert not (tmp_path / "sized" / "report" / LATENCIES).exists()


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


def test_two_sweeps_are_set_side_by_side_and_nothing_is_written(
    storage_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (uris.join(storage_uri, name, "rich") for name in "ab")
    write_ledger(rich_ledger(first))
    write_ledger(rich_ledger(second, is_over=False))
    assert reported(first, second) == 0
    assert "arms in common: 15, 0 with another verdict" in capsys.readouterr().out
    assert not any(uris.exists(f"{uri}/report") for uri in (first, second))


def test_what_differs_between_two_sweeps_is_written_where_output_says(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(f"name: rich\nbase: run.yaml\noutput_uri: {tmp_path}\n")
    write_ledger(rich_ledger(f"{tmp_path}/rich"))
    other = f"{tmp_path}/b=1/study"
    write_ledger(ledger_of([], uri=other))
    place = tmp_path / "out"
    for _ in range(2):
        assert reported(f"{tmp_path}/study.yaml", "--output", str(place), other) == 0
    saved = json.loads((place / "comparison.json").read_text())
    assert saved["b"] == {"name": "study", "sweep_uri": other, "is_over": True}
    assert saved["files"]["name"] == ["rich", "study"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a/rich nothing", "nothing: holds no sweep"),
        ("nothing a/rich --output out", "nothing: holds no sweep"),
        ("a/rich a/rich", "a/rich: is one sweep, named twice"),
        ("a/rich ./a/rich/", "a/rich and ./a/rich/: are one sweep"),
        ("a/rich b/rich c/rich", "are 3 sweeps; name one, or two to compare"),
        ("a/rich b/rich --watch", "--watch is for one sweep"),
        ("a/rich b/rich output_uri=x", "is a directory, which takes no output_uri=x"),
    ],
)
def test_sweeps_that_cannot_be_compared_are_a_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_ledger(rich_ledger("a/rich"))
    with pytest.raises(ConfigError, match=message) as caught:
        reported(*words.split())
    assert caught.value.exit_status == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


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
