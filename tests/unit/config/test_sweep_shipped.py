"""Each sweep file that is shipped loads, its runs check, and its questions can be asked."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from raykd.config.load import load_sweep, plain
from raykd.sweep.questions.contrast import contrasts_of

from tests.prepared import write_prepared
from tests.sweep_files import expanded, record_of

ROOT = Path(__file__).parents[3]
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


def test_there_are_sweep_files() -> None:
    assert "demo.yaml" in {path.name for path in SWEEPS}


@pytest.fixture(scope="module")
def shipped_data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Publish data in every language that a shipped file names."""
    texts = (path.read_text() for path in (ROOT / "configs").rglob("*.yaml"))
    languages = {name for text in texts for name in re.findall(r"[a-z]{3}_[A-Z][a-z]{3}", text)}
    splits = {split: {name: [9] for name in languages} for split in ("train", "validation")}
    path = tmp_path_factory.mktemp("shipped") / "data"
    write_prepared(path, splits, labels=("a", "b", "c"))
    return str(path)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_a_shipped_sweep_loads_under_its_own_name_its_runs_check_and_its_questions_can_be_asked(
    path: Path, shipped_data: str, tmp_path: Path
) -> None:
    sweep = load_sweep(path, [f"data.uri={shipped_data}", f"runs_uri={tmp_path}/runs"])
    assert sweep.name == path.stem.replace("_", "-")
    # One sample and seed show every point: what follows differs in values alone.
    stages, trials = expanded(replace(sweep, num_samples=1, searcher="random", seeds=()))
    assert trials
    for entry in [*stages, *trials]:
        assert entry.config.problems() == []
    contrasts, problems = contrasts_of(plain(sweep), map(record_of, trials))
    assert problems == []
    assert contrasts.keys() == sweep.questions.keys()


def test_the_starts_of_growth_differ_as_its_student_is_wider_than_its_teacher() -> None:
    (teacher, *_), (student, *_) = expanded(load_sweep(ROOT / "configs/sweeps/growth.yaml"))
    widths = [
        architecture.hidden_size
        for entry in (teacher, student)
        if (architecture := entry.config.student.architecture) is not None
    ]
    assert widths == [64, 128]
