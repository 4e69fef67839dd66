"""Help is instant: it loads none of the libraries that take their time."""

import json
import subprocess
import sys

import pytest
from raykd import __version__
from raykd.cli.main import build_parser, main, parse

COMMANDS = [
    *("prepare", "check", "cache", "train", "sweep", "report"),
    *("submit", "evaluate", "export", "replay", "clean", "doctor", "explain"),
]
HEAVY = ["torch", "ray", "pyarrow", "transformers", "datasets", "numpy", "rich", "fsspec"]

LOADED = f"""
import json, sys
from raykd.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)], ids=" ".join)
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments, "--help"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout.startswith(f"usage: {' '.join(['raykd', *arguments])}")
    assert json.loads(ended.stderr) == []


def test_help_shows_every_command_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for command in COMMANDS:
        (line,) = [line for line in shown.splitlines() if line.startswith(f"    {command} ")]
        assert len(line.split()) > 3


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"raykd {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["distill"],
        ["train"],
        ["train", "x.yaml", "--fast"],
        ["sweep"],
        ["sweep", "x.yaml", "--fresh"],
        ["report"],
        ["explain", "a", "b"],
        ["submit", "evaluate", "runs/x"],
        ["submit", "train"],
        ["submit", "train", "x.yaml", "--fast"],
    ],
)
def test_a_wrong_command_line_ends_with_2_and_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert capsys.readouterr().err.startswith("usage: raykd")


@pytest.mark.parametrize(
    "words",
    ["x.yaml a=1 b=2 --fresh", "x.yaml --fresh a=1 b=2", "--fresh x.yaml a=1 b=2"],
)
def test_overrides_may_stand_before_and_after_flags(words: str) -> None:
    options = parse(["train", *words.split()])
    assert (str(options.config), options.overrides, options.fresh) == (
        "x.yaml",
        ["a=1", "b=2"],
        True,
    )


def test_trials_may_be_chosen_more_than_once_and_between_overrides() -> None:
    options = parse(["sweep", "x.yaml", "--only", "a=1", "seeds=[1]", "--only", "b=2"])
    assert (options.only, options.overrides) == (["a=1", "b=2"], ["seeds=[1]"])


def test_a_wrong_configuration_is_one_message_and_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["check", "no/such.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("raykd: no/such.yaml: no such file; ")


def test_the_parser_knows_every_command() -> None:
    for command in COMMANDS:
        assert f" {command} " in build_parser().format_help()
