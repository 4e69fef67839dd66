"""A unigram is the count of the labels of the training rows, in every task and on every worker."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc
import pytest
import torch
from raykd.batch import Batch
from raykd.config.schema.run import RunConfig, TaskName
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.setup import read_setup
from raykd.distill.step import StepCounts
from raykd.distill.world import World
from raykd.models.load import save_model
from raykd.teachers.unigram import unigram_log_probs

from tests.prepared import CLS, SEP, VOCAB_SIZE
from tests.processes import in_processes
from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data, small_run
from tests.tiny_models import tiny_model
from tests.unit.distill.test_step import first_batch
from tests.unit.distill.test_workers import trained
from tests.unit.losses.on_logits import forward_kl

TASKS: tuple[TaskName, ...] = (
    "masked_lm",
    "causal_lm",
    "sequence_classification",
    "token_classification",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unigram")
    small_data(path / "data")
    return path


def run_of(directory: Path, task: TaskName, **changes: Any) -> RunConfig:
    """Return a run that learns from a unigram alone."""
    given: dict[str, Any] = {
        "task": task,
        "student": {"architecture": TINY_LLAMA if task == "causal_lm" else TINY_BERT},
        "teachers": {"none": {"unigram": {}}},
        "losses": {"forward_kl": {}},
    }
    return small_run(directory, **(given | changes))


def counted(directory: Path, task: TaskName, *languages: str) -> npt.NDArray[np.float64]:
    """Count the labels of the training rows in the files themselves, one more of each class."""
    labels: list[int] = []
    for language in languages:
        with pa.OSFile(str(directory / "data" / "train" / f"{language}-00000.arrow")) as file:
            rows = pa.ipc.open_file(file).read_all().to_pylist()
        for row in rows:
            match task:
                case "masked_lm":
                    labels += [token for token in row["input_ids"] if token not in (CLS, SEP)]
                case "causal_lm":
                    labels += row["input_ids"][1:]
                case "sequence_classification":
                    labels.append(row["label"])
                case "token_classification":
                    labels += [label for label in row["word_labels"] if label >= 0]
    counts_K = np.ones(VOCAB_SIZE if task.endswith("_lm") else 3)
    for label in labels:
        counts_K[label] += 1
    shares_K: npt.NDArray[np.float64] = counts_K / counts_K.sum()
    return shares_K


def assembled(config: RunConfig) -> Distillation:
    return assemble(read_setup(config), world=World())


def shares_of(run: Distillation) -> npt.NDArray[np.float64]:
    """Return what a run's unigram says of each class."""
    log_probs_K = unigram_log_probs(run.setup.manifest, run.setup.config.data, run.task)
    shares_K: npt.NDArray[np.float64] = log_probs_K.double().exp().numpy()
    return shares_K


def step_loss(run: Distillation, batch: Batch) -> float:
    positions = StepCounts(positions=len(batch.positions_P), tokens=batch.num_tokens)
    return float(run.objective(batch, 0.0, positions).loss.detach())


@pytest.mark.parametrize("languages", [("de", "en"), ("en",)])
@pytest.mark.parametrize("task", TASKS)
def test_is_the_count_of_the_training_rows_in_their_languages(
    directory: Path, task: TaskName, languages: tuple[str, ...]
) -> None:
    run = assembled(run_of(directory, task, data__languages=list(languages)))
    actual_K = shares_of(run)
    np.testing.assert_allclose(actual_K, counted(directory, task, *languages), rtol=1e-6)


def test_languages_that_are_only_evaluated_on_are_not_counted(directory: Path) -> None:
    languages = {"data__languages": ["en"], "data__eval_languages": ["de", "en"]}
    run = assembled(run_of(directory, "sequence_classification", **languages))
    actual_K = shares_of(run)
    expected_K = counted(directory, "sequence_classification", "en")
    np.testing.assert_allclose(actual_K, expected_K, rtol=1e-6)


def test_of_a_fraction_the_kept_rows_are_counted(directory: Path) -> None:
    run = assembled(run_of(directory, "sequence_classification", data__fraction=0.3))
    actual_K = shares_of(run)
    kept_K = np.ones(3)
    for language, rows in (("de", 20), ("en", 70)):
        # Rows of each class in a language, of which the nearest whole number is kept.
        shares_K = counted(directory, "sequence_classification", language)
        kept_K += np.floor(0.3 * (shares_K * (rows + 3) - 1).round() + 0.5)
    np.testing.assert_allclose(actual_K, kept_K / kept_K.sum(), rtol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_its_loss_is_the_divergence_of_the_count_from_the_student(
    directory: Path, task: TaskName
) -> None:
    run = assembled(run_of(directory, task, train__micro_batch_size=8))
    batch = first_batch(run)
    logits_PK = run.objective.student(batch).logits_PK.detach().double()
    count_K = torch.from_numpy(counted(directory, task, "de", "en"))
    expected_P = forward_kl(
        logits_PK,
        count_K.log().expand(len(logits_PK), -1),
        temperature=1.0,
        scale_by_temperature_squared=False,
    )
    assert step_loss(run, batch) == pytest.approx(float(expected_P.mean()), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("task", ["masked_lm", "sequence_classification"])
def test_its_loss_is_zero_where_the_student_predicts_the_count(
    directory: Path, task: TaskName
) -> None:
    run = assembled(run_of(directory, task, train__micro_batch_size=8))
    student: Any = run.objective.student.model
    head = student.get_output_embeddings() if task.endswith("_lm") else student.classifier
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.from_numpy(counted(directory, task, "de", "en")).log())
    assert step_loss(run, first_batch(run)) == pytest.approx(0, abs=1e-6)


def test_evaluations_score_it_as_a_teacher(directory: Path) -> None:
    metrics = assembled(run_of(directory, "sequence_classification")).evaluate().metrics()
    shares_K = counted(directory, "sequence_classification", "de", "en")
    labels: list[int] = []
    for language in ("de", "en"):
        path = directory / "data" / "validation" / f"{language}-00000.arrow"
        with pa.OSFile(str(path)) as file:
            labels += pa.ipc.open_file(file).read_all()["label"].to_pylist()
    assert metrics["teacher/loss"] == pytest.approx(-np.log(shares_K[labels]).mean(), rel=1e-6)
    assert metrics["teacher/accuracy"] == np.mean(np.array(labels) == shares_K.argmax())


def test_smoothed_labels_change_the_loss_of_training_and_not_of_evaluation(
    directory: Path,
) -> None:
    plain, smoothed = (
        assembled(
            run_of(
                directory,
                "sequence_classification",
                teachers={},
                losses={"cross_entropy": {"label_smoothing": smoothing}},
                train__micro_batch_size=8,
            )
        )
        for smoothing in (0.0, 0.3)
    )
    batch = first_batch(plain)
    assert step_loss(plain, batch) != step_loss(smoothed, batch)
    assert plain.evaluate().metrics() == smoothed.evaluate().metrics()


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("size", [2, 3])
def test_workers_of_a_language_model_agree_with_one(tmp_path: Path, size: int) -> None:
    small_data(tmp_path / "data")
    save_model(tiny_model("bert", "masked_lm"), tmp_path / "a")
    changes: dict[str, Any] = {
        "teachers": {"a": {"model": str(tmp_path / "a")}, "none": {"unigram": {}}},
        "teacher_weights": {"fixed": {"weights": {"a": 1, "none": 2}}},
        "losses": {"cross_entropy": {"label_smoothing": 0.1}, "forward_kl": {}},
    }
    trained(World(), tmp_path, tmp_path / "alone", changes)
    in_processes(
        trained, tmp_path, tmp_path / "together", changes, size=size, store=tmp_path / "store"
    )
    alone, together = (
        torch.load(tmp_path / name, weights_only=True) for name in ("alone", "together")
    )
    assert together["losses"] == pytest.approx(alone["losses"], rel=1e-12)
    # An evaluation scores in float32, in as many pieces as a worker has rows.
    assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-6)
    for name, tensor in alone["weights"].items():
        torch.testing.assert_close(together["weights"][name], tensor, atol=1e-12, rtol=1e-12)
