"""Command lines that cannot be, and --debug."""

import subprocess
import sys
from pathlib import Path

import pytest
from raykd.cli.commands import explain
from raykd.cli.main import main

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, listing, rows

_REFUSED = [
    bad("explain", "explain train.sead", "train.sead: no such key; did you mean train.seed?"),
    bad("explain-sweep", "explain search", "search: no such key; it belongs to a sweep"),
    bad("explain-run", "explain --sweep train", "train: no such key; it belongs to a run"),
    bad("explain-deep", "explain name.first", "name.first: no such key"),
    bad("evaluate", "evaluate nowhere", "nowhere: is no run: it holds no run.yaml"),
    bad("export", "export nowhere --output out", "nowhere: is no run: it holds no run.yaml"),
    *(
        bad(f"{command}-file", f"{command} run.yaml {words}", "run.yaml: is a file", "raykd check")
        for command, words in (("evaluate", ""), ("export", "--output o"), ("replay", "--step 1"))
    ),
    bad("evaluate-sweep", "evaluate data", "data: is no run", "is for raykd report"),
    bad("report-run", "report teacher", "teacher: holds no sweep", "is for raykd evaluate"),
    bad("gpu", "doctor losses --device cuda", "--device: torch finds no CUDA device here"),
]


@rows(_REFUSED)
def test_a_question_without_an_answer_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["distil"], "invalid choice: 'distil'"),
        (["train"], "the following arguments are required: RUN.yaml"),
        (["train", "run.yaml", "--fast"], "unrecognized arguments: --fast"),
        (["prepare", "rows.jsonl"], "the following arguments are required: --output"),
        (["prepare", "rows.jsonl", "--output"], "--output: expected one argument"),
        (["prepare", "x", "--output", "out", "--max-length", "many"], "invalid int value: 'many'"),
        (["prepare", "x", "--output", "out", "--format", "xml"], "invalid choice: 'xml'"),
        (["doctor"], "the following arguments are required: SUBJECT"),
        (["doctor", "losses", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["doctor", "pair", "teacher"], "the following arguments are required: STUDENT"),
        (["evaluate", "a", "b"], "unrecognized arguments: b"),
        (["explain", "a", "b"], "unrecognized arguments: b"),
    ],
)
def test_a_wrong_command_line_shows_the_usage(
    words: list[str], needle: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = listing(place)
    with pytest.raises(SystemExit, match="2"):
        main(words)
    message = capsys.readouterr().err
    assert message.startswith("usage: raykd")
    assert needle in message
    assert listing(place) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--debug", "check", "no.yaml"],
        ["check", "--debug", "no.yaml"],
        ["check", "no.yaml", "--debug"],
    ],
)
def test_debug_shows_where_an_error_comes_from(
    words: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    message = capsys.readouterr().err
    assert message.startswith("Traceback (most recent call last):")
    assert "raykd.errors.ConfigError: no.yaml: no such file" in message
    assert "FileNotFoundError" in message
    assert message.splitlines()[-1].startswith("raykd: no.yaml: no such file; ")


def test_debug_stands_after_a_subject_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "pair", "teacher", "./nowhere", "--debug"]) == 2
    assert "raykd.errors.ModelError: ./nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["explain"], ["explain", "--debug"]])
def test_a_bug_is_one_line_and_status_1(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> str:
        message = "first\n  second"
        raise RuntimeError(message)

    monkeypatch.setattr(explain, "explanation", broken)
    assert main(words) == 1
    message = capsys.readouterr().err
    line = message.splitlines()[-1]
    if "--debug" in words:
        assert "Traceback" in message
        assert line == "raykd: internal error: RuntimeError: first second"
    else:
        told = "raykd: internal error: RuntimeError: first second; --debug shows where\n"
        assert message == told


def test_a_process_of_its_own_says_the_same(place: Path) -> None:
    command = [sys.executable, "-m", "raykd", "train", "kd.yaml", "teachers.big.model=./nowhere"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("raykd: ")
    assert ended.stderr.endswith("  - ./nowhere: no such directory\n")
    assert ended.stderr.count("raykd: ") == 1
    assert not (place / "runs").exists()
