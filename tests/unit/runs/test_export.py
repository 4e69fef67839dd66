"""A published student of several languages is usable without raykd, and resumable with it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.data.selection import initial_state
from raykd.distill.loop import TrainState
from raykd.distill.world import World
from raykd.models.load import model_files
from raykd.models.per_language import PerLanguageModel
from raykd.models.scored import ScoredModel
from raykd.runs.checkpoint import RunState, restore_checkpoint
from raykd.runs.export import ExportedModel, export_model
from raykd.runs.snapshot import Copies, publish_snapshot, take_snapshot
from raykd.storage.published.places import Part

from tests.small_runs import small_data, small_run
from tests.tiny_models import padded_batch, tiny_model

LANGUAGES = ("de", "en")


def shared_student(*, seed: int) -> ScoredModel:
    model = PerLanguageModel(tiny_model("bert", "sequence_classification", seed=seed), LANGUAGES)
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return ScoredModel(model, task="sequence_classification", num_classes=3, languages=LANGUAGES)


@pytest.fixture
def tokenizer_path(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path / "data" / TOKENIZER_DIRECTORY


def test_the_model_cards_code_loads_the_model_of_one_language(
    tokenizer_path: Path, tmp_path: Path
) -> None:
    student = shared_student(seed=1)
    config = small_run(
        tmp_path, task="sequence_classification", student__projections="per_language"
    )
    output = tmp_path / "model"
    export_model(
        ExportedModel(
            model=model_files(student.model), config=config, companions=tokenizer_path, metrics={}
        ),
        str(output),
    )
    card = (output / "README.md").read_text()
    assert "a projection for each of de, en" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    loaded: dict[str, Any] = {}
    exec(code.replace("path/to/this/directory", str(output)), loaded)  # noqa: S102  the card's own
    assert loaded["language"] == "en"
    batch = replace(
        padded_batch("sequence_classification"), languages_B=torch.ones(3, dtype=torch.int64)
    )
    single = ScoredModel(loaded["model"], task="sequence_classification", num_classes=3)
    assert torch.equal(single(batch).logits_PK, student.eval()(batch).logits_PK)


def test_a_plain_models_card_says_nothing_of_projections(
    tokenizer_path: Path, tmp_path: Path
) -> None:
    export_model(
        ExportedModel(
            model=model_files(tiny_model("bert", "masked_lm")),
            config=small_run(tmp_path),
            companions=tokenizer_path,
            metrics={"eval/loss": 1.5},
        ),
        str(tmp_path / "model"),
    )
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| eval/loss | 1.5000 |" in card
    assert "projection" not in card.split("The configuration that made it")[0]


def test_a_checkpoint_restores_every_head_and_its_moments_bit_by_bit(
    tokenizer_path: Path, tmp_path: Path
) -> None:
    config = small_run(tmp_path, task="sequence_classification")
    manifest = small_data(tmp_path / "again")
    states = []
    for seed in (1, 2):
        student = shared_student(seed=seed)
        states.append(
            TrainState(
                step=seed,
                tokens=seed,
                data=initial_state(manifest, config.data),
                optimizer=torch.optim.AdamW(student.parameters(), lr=0.1),
                student=student,
                projections=torch.nn.ModuleDict(),
            )
        )
    trained, fresh = states
    batch = replace(padded_batch("sequence_classification"), languages_B=torch.tensor([0, 1, 1]))
    trained.student(batch).logits_PK.square().sum().backward()
    trained.optimizer.step()
    uri = str(tmp_path / "step-00000001")
    run_state = RunState(
        step=1,
        tokens=1,
        data=trained.data,
        data_fingerprint="of the data",
        world_size=1,
        best=None,
        first_evaluation=None,
    )
    snapshot = take_snapshot(trained, run_state=run_state, world=World(), copies=Copies())
    publish_snapshot(uri, snapshot, part=Part(), origin={}, companions=tokenizer_path)
    restore_checkpoint(uri, fresh)
    pairs = zip(trained.student.named_parameters(), fresh.student.named_parameters(), strict=True)
    for (name, before), (restored_name, after) in pairs:
        assert (restored_name, torch.equal(after, before)) == (name, True)
        moments = fresh.optimizer.state[after]
        for moment, value in trained.optimizer.state[before].items():
            assert torch.equal(moments[moment], value), (name, moment)
