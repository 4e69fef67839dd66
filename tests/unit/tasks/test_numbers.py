"""Predicted numbers: squared error and correlations, each as scipy computes them in float64."""

import numpy as np
import pytest
import torch
from raykd.config.schema.prepare import NUMBER
from raykd.tasks.metrics import metrics, pearson, spearman
from raykd.tasks.sequence_classification import SequenceClassification
from raykd.tasks.tally import Tally
from scipy import stats

from tests.unit.losses.on_logits import squared_error
from tests.unit.tasks.rows import numbered
from tests.unit.tasks.tallied import tallied

TASK = SequenceClassification(class_names=NUMBER, summary="first", pad_id=0)
LANGUAGES = ("de", "en", "sw")


def drawn(num_rows: int, *, seed: int = 0) -> tuple[torch.Tensor, list[float]]:
    """Return predicted [P, 1] and true numbers, with ties in both."""
    generator = torch.Generator().manual_seed(seed)
    true = (torch.randn(num_rows, generator=generator) * 4).round() / 4 + 2.5
    noise = torch.randn(num_rows, generator=generator)
    return ((true + noise) * 4).round()[:, None] / 4, true.tolist()


def tally_of(predicted_P1: torch.Tensor, true: list[float], languages: list[int]) -> Tally:
    batch = TASK.collate(numbered(true, languages=languages))
    return tallied(TASK, predicted_P1, batch, num_languages=len(LANGUAGES))


def test_a_number_is_one_score() -> None:
    assert TASK.num_classes == 1
    batch = TASK.collate(numbered([0.5, 3.25]))
    assert batch.labels_P.tolist() == [0.5, 3.25]
    assert batch.labels_P.dtype == torch.float32
    kept, _ = batch.of_examples(torch.tensor([False, True]))
    assert kept.labels_P.tolist() == [3.25]


def test_metrics_equal_scipy_in_all_and_by_language() -> None:
    predicted_P1, true = drawn(60)
    languages = [index % 2 for index in range(60)]
    found = metrics(tally_of(predicted_P1, true, languages), task=TASK, languages=LANGUAGES)
    x_P, y_P = predicted_P1.squeeze(-1).double().numpy(), np.array(true)
    of = {"": slice(None), "/de": slice(0, None, 2), "/en": slice(1, None, 2)}
    assert found.keys() == {
        f"{name}{language}" for name in ("loss", "pearson", "spearman") for language in of
    }
    for language, rows in of.items():
        x, y = x_P[rows], y_P[rows]
        assert found[f"loss{language}"] == pytest.approx(((x - y) ** 2).mean(), rel=1e-12)
        assert found[f"pearson{language}"] == pytest.approx(stats.pearsonr(x, y)[0], rel=1e-12)
        assert found[f"spearman{language}"] == pytest.approx(stats.spearmanr(x, y)[0], rel=1e-12)


def test_metrics_do_not_depend_on_the_batches() -> None:
    predicted_P1, true = drawn(30)
    languages = [index % 3 for index in range(30)]
    whole = metrics(tally_of(predicted_P1, true, languages), task=TASK, languages=LANGUAGES)
    total = Tally.none(TASK, num_languages=3, device=torch.device("cpu"))
    for start in range(0, 30, 7):
        some = slice(start, start + 7)
        total += tally_of(predicted_P1[some], true[some], languages[some])
    assert metrics(total, task=TASK, languages=LANGUAGES) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("constant", [0.1, 1e9])
def test_equal_predictions_correlate_with_nothing(constant: float) -> None:
    # The mean of three times 0.1 is another number than 0.1.
    same, others = np.full(3, constant), np.array([1.0, 2.0, 4.0])
    assert pearson(same, others) == spearman(others, same) == 0.0


def test_a_large_offset_costs_no_digits() -> None:
    x, y = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    assert pearson(x + 2.0**20, y) == pytest.approx(pearson(x, y), rel=1e-12)


def test_ranks_know_order_alone() -> None:
    x = np.array([0.3, -2.0, 7.0, 7.0])
    assert spearman(np.exp(x), x) == pytest.approx(1.0)
    assert spearman(-x, x) == pytest.approx(-1.0)


def test_squared_error_has_the_value_and_the_gradient_of_its_formula() -> None:
    student_P1 = torch.tensor([[0.5], [-1.0]], dtype=torch.float64, requires_grad=True)
    labels_P = torch.tensor([2.5, 3.0])
    values_P = squared_error(student_P1, labels_P)
    assert values_P.tolist() == [4.0, 16.0]
    values_P.sum().backward()
    assert student_P1.grad is not None
    assert student_P1.grad.tolist() == [[-4.0], [-8.0]]


def test_squared_error_is_computed_in_float32() -> None:
    exact = squared_error(torch.tensor([[256.0]], dtype=torch.bfloat16), torch.tensor([255.5]))
    assert exact.tolist() == [0.25]
    assert squared_error(torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)).sum() == 0
