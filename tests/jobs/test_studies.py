"""The studies run from prepared data to their tables, here on a few rows."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.run import TaskName
from raykd.models.load import save_model

from tests.prepared import write_prepared
from tests.tiny_models import tiny_model

ROOT = Path(__file__).parents[2]
BERT = {"hidden_size": 128, "intermediate_size": 512}


def printed(job: str, *arguments: str) -> list[str]:
    """Run a job to its end and return the lines it prints, spaces squeezed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "jobs" / job), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def saved(path: Path, task: TaskName, **fields: Any) -> str:
    save_model(tiny_model("bert", task, **BERT, **fields), path)
    return str(path)


def numbers(line: str) -> list[float]:
    return [float(word.strip("()")) for word in line.split() if word.strip("()")[:1].isdigit()]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_ways_to_grow_are_compared(tmp_path: Path) -> None:
    write_prepared(tmp_path / "data", {"train": {"en": [16, 16]}, "validation": {"en": [8]}})
    lines = printed(
        "growth_study.py",
        f"--data={tmp_path / 'data'}",
        f"--teacher={saved(tmp_path / 'teacher', 'masked_lm', num_heads=2)}",
        f"--runs={tmp_path / 'runs'}",
        "--steps=2",
        "train.global_batch_size=8",
    )
    rows = {line: numbers(line) for line in lines[-6:]}
    starts = ("random", "remap repeat", "remap stack", "remap inter", "expand fpi", "expand aki")
    assert all(row.startswith(start) for row, start in zip(rows, starts, strict=True))
    assert all(len(losses) == 4 and min(losses) > 3 for losses in rows.values())


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_ways_to_weigh_teachers_are_compared_and_a_language_is_added(tmp_path: Path) -> None:
    for name, languages in (("two", ["de", "en"]), ("three", ["de", "en", "nl"])):
        splits = {
            split: {language: [rows] for language in languages}
            for split, rows in (("train", 16), ("validation", 12))
        }
        write_prepared(tmp_path / name, splits, labels=("a", "b", "c"))
    encoder = saved(
        tmp_path / "encoder",
        "masked_lm",
        num_layers=4,
        settings={"max_position_embeddings": 128},
    )
    lines = printed(
        "teachers_study.py",
        f"--data={tmp_path / 'two'}",
        f"--added-data={tmp_path / 'three'}",
        "--added-language=nl",
        f"--encoder={encoder}",
        f"--runs={tmp_path / 'runs'}",
        "--seeds=1",
        "train.num_epochs=1",
        "train.eval_every_steps=1",
    )
    students = [line for line in lines if line.split()[:1] == ["importance"]]
    assert [line.split()[1] for line in students] == ["uniform", "adaptive"]
    assert all(0 <= value <= 1 for line in students for value in numbers(line))
    assert [line.split()[0] for line in lines[-3:]] == ["de", "en", "nl"]
