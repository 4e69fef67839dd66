"""Metrics from sums equal those that scikit-learn and seqeval make from samples."""

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from raykd.errors import DataError
from raykd.tasks.causal_lm import CausalLM
from raykd.tasks.metrics import metrics
from raykd.tasks.sequence_classification import SequenceClassification
from raykd.tasks.task import Task
from raykd.tasks.token_classification import TokenClassification
from seqeval.metrics import f1_score as entity_f1_score
from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef

from tests.unit.tasks.rows import rows_of
from tests.unit.tasks.tallied import tallied

CLASSES = ("a", "b", "c", "d")
CLASSIFICATION = SequenceClassification(class_names=CLASSES, summary="first", pad_id=0)


def classified(
    logits_PK: torch.Tensor,
    labels: Sequence[int],
    *,
    languages: Sequence[int] | None = None,
    names: tuple[str, ...] = ("en",),
    unseen: Sequence[str] = (),
    teacher_logits_PK: torch.Tensor | None = None,
) -> dict[str, float]:
    batch = CLASSIFICATION.collate(
        rows_of([[1]] * len(labels), labels=labels, languages=languages)
    )
    total = tallied(
        CLASSIFICATION,
        logits_PK,
        batch,
        num_languages=len(names),
        other_logits_PK=teacher_logits_PK,
    )
    return metrics(total, task=CLASSIFICATION, languages=names, unseen=unseen)


def seeded_logits(num_positions: int, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_positions, len(CLASSES), generator=generator)


def reference(logits_PK: torch.Tensor, labels_P: npt.NDArray[np.int64]) -> dict[str, float]:
    predicted_P = logits_PK.argmax(dim=1).numpy()
    probabilities_PK = logits_PK.double().softmax(dim=1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, where all positions have one class
        return {
            "loss": log_loss(labels_P, probabilities_PK, labels=[*range(len(CLASSES))]),
            "accuracy": accuracy_score(labels_P, predicted_P),
            "macro_f1": f1_score(labels_P, predicted_P, average="macro"),
            "matthews": matthews_corrcoef(labels_P, predicted_P),
        }


@given(seed=st.integers(0, 2**31), labels=st.lists(st.integers(0, 3), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_classification_equals_scikit_learn(seed: int, labels: list[int]) -> None:
    logits_PK = seeded_logits(len(labels), seed=seed)
    expected = reference(logits_PK, np.array(labels))
    assert classified(logits_PK, labels) == pytest.approx(expected, abs=1e-6)


def test_each_language_has_its_own_metrics() -> None:
    labels = np.random.default_rng(0).integers(0, 4, size=60)
    languages = np.arange(60) % 2 * 2
    logits_PK = seeded_logits(60, seed=0)
    found = classified(
        logits_PK, labels.tolist(), languages=languages.tolist(), names=("de", "fr", "sw")
    )
    expected = reference(logits_PK, labels)
    for index, name in ((0, "de"), (2, "sw")):
        is_of_language_P = languages == index
        of_language = reference(logits_PK[is_of_language_P], labels[is_of_language_P])
        expected |= {f"{metric}/{name}": value for metric, value in of_language.items()}
    assert found == pytest.approx(expected, abs=1e-6)


@given(
    seed=st.integers(0, 2**31),
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from((0, 1, 2))), min_size=1, max_size=30
    ),
    unseen=st.sets(st.sampled_from(("de", "fr", "sw")), min_size=1),
)
@settings(deadline=None, max_examples=60)
def test_metrics_of_seen_and_unseen_languages_are_those_of_their_rows_alone(
    seed: int, rows: list[tuple[int, int]], unseen: set[str]
) -> None:
    names = ("de", "fr", "sw")
    labels, languages = (np.array(column) for column in zip(*rows, strict=True))
    logits_PK = seeded_logits(len(rows), seed=seed)
    given_rows = {"languages": languages.tolist(), "names": names}
    found = classified(logits_PK, labels.tolist(), **given_rows, unseen=sorted(unseen))
    expected = classified(logits_PK, labels.tolist(), **given_rows)
    is_unseen_P = np.isin(languages, [names.index(name) for name in unseen])
    for group, of_group_P in (("seen", ~is_unseen_P), ("unseen", is_unseen_P)):
        if of_group_P.any():
            of_group = reference(logits_PK[of_group_P], labels[of_group_P])
            expected |= {f"{group}/{metric}": value for metric, value in of_group.items()}
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_single_language_is_not_repeated() -> None:
    found = classified(
        seeded_logits(3, seed=0), [0, 1, 2], languages=[1, 1, 1], names=("de", "en")
    )
    assert not any("/" in name for name in found)


def test_agreement_is_the_share_of_equal_predictions() -> None:
    student_PK, teacher_PK = seeded_logits(40, seed=0), seeded_logits(40, seed=1)
    found = classified(student_PK, [0] * 40, teacher_logits_PK=teacher_PK)
    expected = (student_PK.argmax(1) == teacher_PK.argmax(1)).double().mean().item()
    assert 0 < expected < 1
    assert found["agreement"] == pytest.approx(expected)
    assert classified(student_PK, [0] * 40, teacher_logits_PK=student_PK)["agreement"] == 1


def test_language_modelling_has_a_perplexity_and_no_classes() -> None:
    task = CausalLM(num_classes=8, pad_id=0)
    batch = task.collate(rows_of([[1, 2, 3], [4, 5]]))
    found = metrics(
        tallied(task, torch.zeros(3, 8), batch, num_languages=1), task=task, languages=("en",)
    )
    assert found == {
        "loss": pytest.approx(math.log(8)),
        "accuracy": 0.0,
        "perplexity": pytest.approx(8.0),
    }


def test_a_hopeless_perplexity_is_infinite() -> None:
    task = CausalLM(num_classes=3, pad_id=0)
    logits_PK = torch.tensor([[1e4, 0.0, 0.0]])
    total = tallied(task, logits_PK, task.collate(rows_of([[1, 2]])), num_languages=1)
    assert metrics(total, task=task, languages=("en",))["perplexity"] == math.inf


def word_metrics(
    task: Task, predicted: list[list[int]], true: list[list[int]]
) -> dict[str, float]:
    batch = task.collate(rows_of([[1] * len(row) for row in true], token_labels=true))
    logits_PK = torch.eye(task.num_classes)[[tag for row in predicted for tag in row]]
    total = tallied(task, logits_PK, batch, num_languages=1)
    return metrics(total, task=task, languages=("en",))


def test_entity_f1_equals_seqeval() -> None:
    names = ("O", "B-X", "I-X", "B-Y", "I-Y")
    generator = np.random.default_rng(0)
    true = [generator.integers(0, 5, size=n).tolist() for n in generator.integers(1, 12, size=40)]
    predicted = [[t if generator.random() < 0.8 else 0 for t in row] for row in true]
    found = word_metrics(TokenClassification(class_names=names, pad_id=0), predicted, true)
    expected = entity_f1_score(
        [[names[tag] for tag in row] for row in true],
        [[names[tag] for tag in row] for row in predicted],
    )
    assert 0.2 < expected < 0.9
    assert found["entity_f1"] == pytest.approx(expected)


def test_no_entities_at_all_are_an_entity_f1_of_zero() -> None:
    task = TokenClassification(class_names=("O", "B-X"), pad_id=0)
    assert word_metrics(task, [[0, 0]], [[0, 0]])["entity_f1"] == 0


def test_parts_of_speech_have_no_entity_f1() -> None:
    task = TokenClassification(class_names=("NOUN", "VERB"), pad_id=0)
    found = word_metrics(task, [[0, 1]], [[0, 1]])
    assert "entity_f1" not in found
    assert found["macro_f1"] == 1


def test_an_evaluation_of_nothing_is_refused() -> None:
    empty = tallied(
        CLASSIFICATION, torch.zeros(0, 4), CLASSIFICATION.collate(rows_of([])), num_languages=1
    )
    with pytest.raises(DataError, match="no position was scored for sequence_classification"):
        metrics(empty, task=CLASSIFICATION, languages=("en",))
