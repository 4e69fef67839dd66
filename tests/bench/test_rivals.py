"""The comparison with other trainers compares the same work, and counts it right."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from raykd.models.load import save_model
from torch.nn import functional as F

from tests.bench.rivals import floor, raykd_way
from tests.bench.rivals.bare_loop import WAYS
from tests.bench.rivals.cases import CASES, Case, Material, ModelSize
from tests.bench.rivals.figures import Taken, losses_apart, memory_share, spread, times_as_fast
from tests.bench.rivals.kd_loss import kd_loss, logits_and_labels
from tests.bench.rivals.material import make_material
from tests.bench.rivals.models import load_models
from tests.bench.rivals.rows import NO_LABEL, load_rows, num_tokens, padded
from tests.bench.rivals.watch import Watch
from tests.small_runs import small_data
from tests.tiny_models import tiny_model
from tests.unit.losses.on_logits import forward_kl

_TINY = ModelSize(num_layers=1, hidden_size=16, num_heads=2)


@pytest.fixture(params=sorted(CASES))
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Case, Material]:
    """A case of the comparison with tiny models, and all that its ways read."""
    case = replace(
        CASES[request.param],
        student=_TINY,
        teacher=_TINY,
        vocab_size=211,
        max_length=32,
        batch_rows=4,
        micro_batch_rows=2,
        num_steps=2,
        num_warm_up_steps=1,
    )
    material = Material(root=tmp_path)
    make_material(case, material)
    return case, material


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_bare_loop_finds_the_losses_of_raykd(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    save_model(tiny_model("bert", "sequence_classification"), tmp_path / "model")
    command = [sys.executable, "-m", "tests.bench.rivals.bare_loop", "--rounds=1", "--steps=3"]
    command += [f"--model={tmp_path / 'model'}", f"--data={tmp_path / 'data'}"]
    command += ["--precision=float32", "--frozen=embeddings"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [line.split("│") for line in printed.splitlines() if line.count("│") == 8]
    assert [row[1].strip() for row in rows] == list(WAYS)
    assert all(float(row[7]) < 1e-6 for row in rows)


def test_raykd_finds_the_losses_of_the_usual_way_on_the_rows_that_the_peers_get(
    tiny: tuple[Case, Material],
) -> None:
    case, material = tiny
    watch = Watch()
    raykd_way.train(case, material, watch, "raykd")
    # In float64: the divergence of the classes is so small that float32 rounds it too much.
    student, teacher = (model.double() for model in load_models(case, material, Watch()))
    batch = padded(list(load_rows(material.rows)[0].rows))
    outputs = student(**batch)
    soft = kd_loss(
        *logits_and_labels(
            outputs, teacher(**batch), batch["labels"], is_causal=case.task == "causal_lm"
        ),
        temperature=case.temperature,
    )
    assert watch.losses["cross_entropy"][0] == pytest.approx(outputs.loss.item(), rel=1e-5)
    assert watch.losses["kl"][0] == pytest.approx(soft.item(), rel=1e-4, abs=1e-6)
    assert len(watch.wall_seconds) == len(watch.losses["loss"]) == case.num_steps
    assert watch.bytes_peak > watch.bytes_before > 0


def test_every_step_of_the_peers_has_all_its_rows(tiny: tuple[Case, Material]) -> None:
    case, material = tiny
    steps = load_rows(material.rows)
    assert [len(step.rows) for step in steps] == [case.batch_rows] * case.num_steps
    batch = padded(list(steps[0].rows))
    assert batch["attention_mask"].sum() == num_tokens(steps[0])
    assert batch["input_ids"].shape == batch["attention_mask"].shape


def test_the_usual_loss_is_the_mean_forward_kl_of_the_labelled_places() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 3, 7, dtype=torch.float64).unbind()
    labels = torch.tensor([[1, NO_LABEL, 2], [NO_LABEL, NO_LABEL, 4]])
    is_scored = labels != NO_LABEL
    expected = forward_kl(
        student[is_scored],
        teacher[is_scored],
        temperature=2.0,
        scale_by_temperature_squared=True,
    ).mean()
    found = kd_loss(student, teacher, labels, temperature=2.0)
    torch.testing.assert_close(found, expected)
    assert F.cross_entropy(student[is_scored], labels[is_scored]) != found


def test_the_floor_of_a_step_has_the_products_of_its_shapes(
    tiny: tuple[Case, Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, material = tiny
    monkeypatch.setattr(floor, "_BLOCK_BYTES", 1 << 20)
    found = floor.measured(case, material)["float32"]
    width, layers = case.student.hidden_size, case.student.num_layers
    steps = load_rows(material.rows)[case.num_warm_up_steps :]
    rows = case.batch_rows
    length = round(sum(map(num_tokens, steps)) / (rows * len(steps)))
    tokens = rows * length
    # Queries, keys, values, their output, and four widths forth and back; scores and values.
    encoder = layers * 2 * tokens * (12 * width**2 + 2 * length * width)
    head = {
        "masked_lm": width**2 + width * case.vocab_size,
        "causal_lm": width * case.vocab_size,
        "sequence_classification": width**2 + width * (case.num_classes or 0),
    }[case.task]
    # BERT's backbone pools, too, though the head is what is asked.
    pooled = 2 * rows * width**2 if case.num_classes else 0
    assert found["flops"]["teacher's layers"] == encoder + pooled
    positions, rest = divmod(found["flops"]["teacher's head"], 2 * head)
    assert rest == 0
    assert 0 < positions <= tokens
    # Backward there are as many for the inputs, and as many for the weights.
    assert found["flops"]["student"] == 3 * (encoder + 2 * positions * head) + pooled
    assert found["bytes"] > 28 * case.vocab_size * width
    assert min(found["seconds"].values()) > 0


def test_ratios_are_taken_within_a_round_and_after_the_warm_up() -> None:
    def figures(step_seconds: float, *, peak: int) -> dict[str, object]:
        ends = [9.0, 20.0, 20.0 + step_seconds, 20.0 + 2 * step_seconds]
        losses = {"loss": [1.0, step_seconds]}
        return {
            "num_warm_up_steps": 2,
            "wall_seconds": ends,
            "losses": losses,
            "bytes_before": 100,
            "bytes_peak": peak,
        }

    taken = Taken(
        rounds={
            "transformers": [figures(4.0, peak=500), figures(8.0, peak=500)],
            "raykd": [figures(1.0, peak=200), figures(4.0, peak=200)],
        },
        refused={},
        floors=[],
    )
    assert str(times_as_fast(taken, "raykd", "wall_seconds")) == "3.00 (2.50 to 3.50)"
    assert memory_share(taken, "raykd") == 0.25
    assert losses_apart(taken, "raykd") == 3.0
    assert str(spread([2.0])) == "2.00"
