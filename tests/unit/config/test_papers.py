"""The claims of three papers are asked: each once, with its source, of arms that there are."""

import re
from pathlib import Path

import pytest
from raykd.config.load import load_sweep, plain
from raykd.sweep.questions.contrast import contrasts_of

from tests.sweep_files import expanded, record_of

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "configs" / "papers"
PAPERS = {str(path.relative_to(FOLDER).with_suffix("")): path for path in FOLDER.rglob("*.yaml")}

_OF_PAPER = {
    "dwt": [f"D{number}" for number in range(1, 7)],
    "privileged_students": [f"P{number}" for number in range(1, 8)],
    "amtss": [f"A{number}" for number in range(1, 6)],
}
CLAIMS = {
    **_OF_PAPER,
    **{f"small/{paper}": claims for paper, claims in _OF_PAPER.items()},
    "small/dwt_masked": ["D1", "D2"],
}


def test_there_is_a_study_of_each_paper_at_both_scales() -> None:
    assert PAPERS.keys() == CLAIMS.keys()


@pytest.mark.parametrize("paper", CLAIMS)
def test_each_claim_is_asked_with_its_source(paper: str) -> None:
    questions = load_sweep(PAPERS[paper]).questions
    assert [name for name in questions if re.fullmatch("[A-Z][0-9]", name)] == CLAIMS[paper]
    for name in CLAIMS[paper]:
        assert questions[name].claim
        assert questions[name].source
        assert questions[name].given == ("gate",)
    # What is neither a claim nor the gate is a part of a claim: it takes no share of the error.
    parts = {part for question in questions.values() for part in question.all}
    assert questions.keys() == {"gate", *CLAIMS[paper], *parts}


@pytest.mark.parametrize("paper", CLAIMS)
def test_each_question_names_arms_of_its_study(
    paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where a folder is, nobody looks on the Hub; what it lacks changes no arm.
    for name in ("models/multilingual-e5-small", "FacebookAI/xlm-roberta-base"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(PAPERS[paper])
    _, trials = expanded(sweep)
    contrasts, problems = contrasts_of(plain(sweep), map(record_of, trials))
    assert problems == []
    asked = {name for name, question in sweep.questions.items() if not question.is_whole}
    assert contrasts.keys() == asked
    for name, contrast in contrasts.items():
        # Else the level of all arms would count, and not only how they differ.
        is_balanced = sum(arm.weight for arm in contrast.weights) == pytest.approx(0)
        assert is_balanced != (sweep.questions[name].with_ == contrast.minus)
