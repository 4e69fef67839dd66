"""The doctor prints a table and says by its status whether all is well."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from raykd.cli.commands.doctor_losses import losses_table
from raykd.cli.main import main, parse
from raykd.doctor.subject import Finding
from raykd.models.load import save_model
from rich.console import Console

from tests.prepared import word_tokenizer
from tests.tiny_models import tiny_model
from tests.unit.cli.test_help import LOADED


def model_at(path: Path, *, num_words: int = 0) -> str:
    save_model(tiny_model("bert", "masked_lm"), path)
    tokenizer = word_tokenizer()
    tokenizer.add_tokens([f"more{index}" for index in range(num_words)])
    tokenizer.save_pretrained(path)
    return str(path)


@pytest.mark.slow
def test_losses_that_are_right_end_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "losses"]) == 0
    printed = capsys.readouterr().out
    assert "checks pass on cpu in float32" in printed
    assert "micro batches" in printed
    assert "FAIL" not in printed


def test_a_check_that_fails_is_marked() -> None:
    console = Console(width=120, record=True)
    wrong = Finding(name="padding", claim="changes nothing", deviation=0.17, tolerance=1e-5)
    with console.capture() as captured:
        console.print(losses_table([wrong]))
    assert captured.get().split()[-6:] == [
        "padding",
        "changes",
        "nothing",
        "0.17",
        "1e-05",
        "FAIL",
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "losses", "--device", "cuda"]) == 2
    assert capsys.readouterr().err.startswith("raykd: --device: torch finds no CUDA device here")


def test_a_pair_that_fits_ends_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_at(tmp_path / "model")
    assert main(["doctor", "pair", model, model]) == 0
    assert capsys.readouterr().out.endswith("ready\n")


def test_a_pair_that_does_not_fit_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = [model_at(tmp_path / str(number), num_words=number) for number in (0, 1)]
    assert main(["doctor", "pair", *models]) == 2
    assert "1 problem(s)" in capsys.readouterr().out


def test_a_model_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "pair", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


@pytest.mark.parametrize("arguments", [[], ["losses"], ["pair"]], ids=str)
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, "doctor", *arguments, "--help"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert ended.stdout.startswith(f"usage: {' '.join(['raykd', 'doctor', *arguments])}")
    assert json.loads(ended.stderr) == []


@pytest.mark.parametrize("arguments", [["doctor"], ["doctor", "pair", "a"], ["doctor", "loss"]])
def test_an_incomplete_question_shows_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert capsys.readouterr().err.startswith("usage: raykd doctor")
