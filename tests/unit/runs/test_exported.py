"""What would be read otherwise than it was trained is not exported."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from raykd.cli.main import main
from raykd.config.schema.run import TaskName
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import ModelError
from raykd.models.load import model_files
from raykd.runs.companions import companions_of
from raykd.runs.export import ExportedModel, export_model
from raykd.runs.exported import check_alone
from raykd.runs.paths import run_paths
from safetensors.torch import load_file, save_file

from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data, small_run
from tests.unit.runs.tokenizer_kinds import prepared
from tests.unit.train.test_run import train


def exported(directory: Path, task: TaskName, model_type: str) -> tuple[Distillation, Path]:
    """Export the student of a run that begins."""
    if task == "token_classification":
        small_data(directory / "data")
    else:
        prepared("trained wordpiece", directory)
    architecture = TINY_BERT | {"model_type": model_type}
    student = {"architecture": architecture}
    config = small_run(directory, task=task, student=student, data__eval_split=None)
    run = assemble(read_setup(config), world=World())
    model = run.student.model
    with companions_of(model, config) as companions:
        export_model(
            ExportedModel(
                model=model_files(model), config=config, companions=companions, metrics={}
            ),
            str(directory / "model"),
        )
    return run, directory / "model"


TASKS: list[tuple[TaskName, str]] = [
    ("masked_lm", "bert"),
    ("causal_lm", "gpt2"),
    ("sequence_classification", "llama"),
    ("token_classification", "modernbert"),
]


@pytest.mark.parametrize(("task", "model_type"), TASKS)
def test_what_is_read_as_it_was_trained_passes(
    task: TaskName, model_type: str, tmp_path: Path
) -> None:
    run, path = exported(tmp_path, task, model_type)
    check_alone(path, run.student.model, run.setup)


def _swap_two_words(path: Path) -> None:
    file = path / "tokenizer.json"
    state = json.loads(file.read_text())
    vocabulary = state["model"]["vocab"]
    vocabulary["is"], vocabulary["so"] = vocabulary["so"], vocabulary["is"]
    file.write_text(json.dumps(state))


def _shift_a_tensor(path: Path) -> None:
    file = path / "model.safetensors"
    tensors = load_file(file)
    name = "classifier.bias"
    shift = torch.tensor([0.0, 0.0, 0.1])
    save_file(tensors | {name: tensors[name] + shift}, file, metadata={"format": "pt"})


def _forget_the_weights(path: Path) -> None:
    (path / "model.safetensors").unlink()


BREAKS: list[tuple[Callable[[Path], None], str]] = [
    (_swap_two_words, r"of '.*' its tokenizer makes \[.*\], but the data's \["),
    (_shift_a_tensor, "its scores differ from the student's by up to"),
    (_forget_the_weights, "it cannot be loaded: "),
]


@pytest.mark.parametrize(("breaks", "message"), BREAKS, ids=[b.__name__ for b, _ in BREAKS])
def test_what_is_read_otherwise_is_refused(
    breaks: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    run, path = exported(tmp_path, "sequence_classification", "bert")
    breaks(path)
    with pytest.raises(ModelError, match=message):
        check_alone(path, run.student.model, run.setup)


def test_export_checks_before_it_publishes_unless_told_not_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared("trained bpe", tmp_path)
    student = {"architecture": TINY_LLAMA}
    config = small_run(
        tmp_path, task="causal_lm", student=student, data__eval_split=None, train__num_steps=2
    )
    train(config)
    export = ["export", run_paths(config).run, "--output", str(tmp_path / "one")]
    file = tmp_path / "data" / TOKENIZER_DIRECTORY / "tokenizer.json"
    state = json.loads(file.read_text())
    vocabulary = state["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
    file.write_text(json.dumps(state))
    assert main(export) == 2
    assert "its tokenizer makes" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()
    assert main([*export, "--no-check"]) == 0
    assert (tmp_path / "one" / "config.json").exists()
