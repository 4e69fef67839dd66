"""Another library multiplies only where it is as right and faster, and then for the whole run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.world import World
from raykd.machine.matmul import MAX_ERROR, Shape, Trial, multiplying, shapes_of, tried
from raykd.runs.matmul_choice import products_as_settled, products_settled
from raykd.runs.paths import RunPaths
from raykd.storage import uris

from tests.small_runs import TINY_BERT, small_data, small_run

WIDE = TINY_BERT | {"hidden_size": 512, "intermediate_size": 1024, "num_layers": 1}


def precision() -> str:
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's own
    return str(settings.fp32_precision)


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Distillation:
    directory = tmp_path_factory.mktemp("machine")
    small_data(directory / "data")
    return assemble(small_run(directory, student={"architecture": WIDE}), world=World())


def test_the_costliest_shapes_are_tried() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 8),
        *(torch.nn.Linear(512, 1024) for _ in range(3)),
        torch.nn.Linear(64, 9000),
    )
    wide, head, _ = shapes_of([model], rows=4096)
    assert wide == Shape(rows=256, inputs=512, outputs=1024)
    assert head == Shape(rows=256, inputs=64, outputs=2048)


def test_small_models_and_other_precisions_are_left_alone() -> None:
    assert shapes_of([torch.nn.Linear(64, 64)], rows=64) == ()
    assert shapes_of([torch.nn.Linear(2048, 2048, dtype=torch.bfloat16)], rows=64) == ()


@pytest.mark.parametrize(
    ("error", "speed", "is_better"),
    [(4e-7, 1.3, True), (4e-7, 1.05, False), (2e-3, 9.0, False), (0.0, 1.0, False)],
)
def test_what_is_taken_is_right_and_faster(error: float, speed: float, is_better: bool) -> None:
    assert Trial(error=error, speed=speed).is_better is is_better


def test_a_trial_tells_the_error_to_float64() -> None:
    trial = tried([Shape(rows=32, inputs=256, outputs=128)])
    assert trial.speed > 0
    # CPUs with matrix units round to bfloat16, which has 8 bits.
    assert trial.error < MAX_ERROR or 1e-4 < trial.error < 1e-1
    assert precision() == "none"


def test_the_choice_is_kept_in_the_run(wide_run: Distillation, tmp_path: Path) -> None:
    paths = RunPaths(str(tmp_path))
    with products_settled(wide_run, paths):
        chosen = precision()
    record = json.loads(uris.read_bytes(paths.machine))
    assert record["onednn"] is (chosen == "bf16")
    # Whatever it would find: the run goes on as it began.
    for onednn in (True, False):
        uris.write_bytes(paths.machine, json.dumps(record | {"onednn": onednn}).encode())
        for settled in (products_settled(wide_run, paths), products_as_settled(paths)):
            with settled:
                assert (precision() == "bf16") is onednn
            assert precision() == "none"


def test_another_machine_chooses_anew(wide_run: Distillation, tmp_path: Path) -> None:
    paths = RunPaths(str(tmp_path))
    with products_settled(wide_run, paths):
        chosen = precision()
    record = json.loads(uris.read_bytes(paths.machine))
    other = {"machine": "another", "onednn": chosen != "bf16"}
    uris.write_bytes(paths.machine, json.dumps(other).encode())
    with products_as_settled(paths):
        assert precision() == "none"
    with products_settled(wide_run, paths):
        pass
    assert json.loads(uris.read_bytes(paths.machine))["machine"] == record["machine"]


def test_a_small_run_tries_and_writes_nothing(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    run = assemble(small_run(tmp_path), world=World())
    with products_settled(run, RunPaths(str(tmp_path / "run"))):
        assert precision() == "none"
    assert not (tmp_path / "run").exists()


def test_a_student_in_bfloat16_multiplies_no_float32(
    wide_run: Distillation, tmp_path: Path
) -> None:
    config = replace(wide_run.config, train=replace(wide_run.config.train, precision="bfloat16"))
    with products_settled(replace(wide_run, config=config), RunPaths(str(tmp_path / "run"))):
        assert precision() == "none"
    assert not (tmp_path / "run").exists()


def fail_while_multiplying() -> None:
    with multiplying(onednn=True):
        assert precision() == "bf16"
        raise KeyError


def test_the_setting_ends_with_its_block() -> None:
    with pytest.raises(KeyError):
        fail_while_multiplying()
    assert precision() == "none"
