"""What this user may not read is called denied, never missing."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pytest
from raykd.cli.main import main

from tests.sweeps import rich_ledger, write_ledger

_CAPABILITIES_V3 = 0x20080522
_PAST_MODES = 0b110
"""The capabilities to read, and to search, what modes forbid."""


@pytest.fixture(autouse=True)
def unprivileged(place: Path) -> Iterator[None]:
    """Let modes count for root, too; give them back for who removes the directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0)
    held = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, held) == 0
    effective = held[0]
    held[0] &= ~_PAST_MODES
    assert libc.capset(header, held) == 0
    yield
    held[0] = effective
    assert libc.capset(header, held) == 0
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("teacher/model.safetensors", "check kd.yaml"),
        ("teacher/config.json", "check kd.yaml"),
        ("teacher", "check kd.yaml"),
        ("data/manifest.json", "check run.yaml"),
        ("data", "check run.yaml"),
        ("rows.jsonl", "prepare rows.jsonl --output out"),
        ("teacher", "prepare rows.jsonl --tokenizer teacher --output out"),
    ],
)
def test_what_may_not_be_read_is_denied(
    name: str, command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).chmod(0)
    assert main(command.split()) != 0
    said = "".join(capsys.readouterr()).replace("\n", " ")
    assert "Permission denied" in said
    assert name in said
    for wrong in ("no such", "nothing is there", "holds no", "internal error", "copy the model"):
        assert wrong not in said
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["", "/run.yaml", "/checkpoints"])
@pytest.mark.parametrize("command", ["evaluate {run}", "export {run} --output out"])
def test_a_run_that_may_not_be_read_is_denied(
    command: str, name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "run.yaml"]) == 0
    (run,) = (place / "runs").iterdir()
    Path(f"{run}{name}").chmod(0)
    capsys.readouterr()
    assert main(command.format(run=run).split()) == 1
    assert "Permission denied" in capsys.readouterr().err
    assert not (place / "out").exists()


def test_a_report_that_may_not_be_written_beside_its_sweep_can_be_elsewhere(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = place / "rich"
    write_ledger(rich_ledger(str(sweep)))
    sweep.chmod(0o555)
    assert main(["report", str(sweep)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "Permission denied" in line
    assert line.endswith(", or give raykd report another directory by --output")
    assert main(["report", str(sweep), "--output", str(place / "out")]) == 0
