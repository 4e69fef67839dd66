"""What a run would do is said before it does it, down to every tensor of the student."""

import re
from pathlib import Path

import pytest
from raykd.cli.main import main
from raykd.config.load import as_yaml
from raykd.models.load import save_model

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """Write a run whose student grows from a teacher half as deep, of other classes."""
    small_data(tmp_path / "data")
    model = tiny_model(
        "bert", "sequence_classification", hidden_size=16, num_heads=2, intermediate_size=32
    )
    model.config.id2label = {0: "a", 1: "b", 2: "d"}
    save_model(model, tmp_path / "source")
    config = small_run(
        tmp_path,
        task="sequence_classification",
        student={
            "architecture": TINY_BERT | {"num_layers": 4, "settings": {"vocab_size": 67}},
            "init": {"remap": {"source": str(tmp_path / "source")}},
        },
    )
    (tmp_path / "run.yaml").write_text(as_yaml(config))
    return tmp_path / "run.yaml"


def test_the_start_is_told_in_short_with_what_stays_at_random(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(config_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "layers 0 <- 0, 1 <- 1, 2 <- 1, 3 <- 1" in shown
    assert "69 of 73 tensors from the source; --init lists them" in shown
    assert "classifier.weight: random: the source has other classes" in shown


def test_every_tensor_is_listed_with_its_source_where_asked(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(config_path), "--init"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "tensor of the student from how" in lines
    place = "attention.self.query.weight"
    assert f"bert.encoder.layer.3.{place} bert.encoder.layer.1.{place} copied" in lines
    assert "classifier.bias - random: the source has other classes" in lines
    assert len([line for line in lines if line.startswith("bert.encoder.layer.")]) == 64


@pytest.mark.parametrize("command", ["check", "train"])
def test_a_fraction_that_leaves_a_class_without_rows_is_refused_before_anything_starts(
    config_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(config_path), "data.fraction=0.01"]) == 2
    printed = capsys.readouterr()
    shown = " ".join((printed.out + printed.err).split())
    assert "data.fraction=0.01 leaves no row of class 'a' of language 'de' (it has " in shown
    assert "or more, or leave the language out with data.languages" in shown
    assert not (config_path.parent / "runs").exists()


def test_the_rows_of_a_fraction_are_told(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(config_path), "data.fraction=0.5", "data.languages=[en]"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    # 70 rows of English in three classes, each rounded.
    found = re.search(
        r"(\d+) rows of data.fraction=0.5, about \d+ tokens to train on; 13 row", shown
    )
    assert found is not None
    assert 34 <= int(found[1]) <= 37
