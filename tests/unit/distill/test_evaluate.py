"""Evaluations score every teacher where it serves, and say how far the student is behind."""

import pytest
import torch
from raykd.batch import Batch, LayersWanted
from raykd.config.schema.run import TaskName
from raykd.distill.evaluate import Evaluation, evaluate
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.models.scored import ScoredModel
from raykd.tasks.sequence_classification import SequenceClassification
from raykd.tasks.tally import Tally
from raykd.teachers.build import build_ensemble
from raykd.teachers.live import LiveTeacher, Teacher

from tests.tiny_models import LABELS, VOCAB_SIZE, scored, tiny_model
from tests.unit.tasks.rows import rows_of
from tests.unit.tasks.tallied import tallied

NAME: TaskName = "sequence_classification"
TASK = SequenceClassification(class_names=LABELS, summary="first", pad_id=0)
LANGUAGES = ("de", "en", "sw")


def batches(
    num_rows: int = 24, *, size: int = 24, languages: tuple[int, ...] = (0, 1, 2)
) -> list[Batch]:
    """Return the same rows in batches of a size."""
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(5, VOCAB_SIZE, (num_rows, 6), generator=generator).tolist()
    rows = rows_of(
        tokens,
        languages=[languages[row % len(languages)] for row in range(num_rows)],
        labels=torch.randint(3, (num_rows,), generator=generator).tolist(),
    )
    return [TASK.collate(piece) for piece in rows.split(size)]


def balanced(seed: int, *, dropout: float = 0.0) -> ScoredModel:
    """Return a model that predicts every class somewhere."""
    model = scored(tiny_model("bert", NAME, seed=seed, dropout=dropout), NAME)
    (batch,) = batches()
    with torch.no_grad():
        model.model.get_parameter("classifier.bias").sub_(model(batch).logits_PK.mean(dim=0))
    return model


def live(seed: int) -> LiveTeacher:
    return LiveTeacher(balanced(seed))


def objective(**teachers: tuple[Teacher, tuple[str, ...] | None]) -> DistillationStep:
    """Return a student and teachers, each with the languages that it serves."""
    ensemble = None
    if teachers:
        ensemble = build_ensemble(
            None,
            {name: teacher for name, (teacher, _) in teachers.items()},
            served={name: served for name, (_, served) in teachers.items()},
            languages=LANGUAGES,
            trained=(),
        )
    return DistillationStep(
        balanced(9, dropout=0.4),
        ensemble=ensemble,
        terms=(),
        autocast_dtype=None,
    )


def evaluated(step: DistillationStep, rows: list[Batch]) -> Evaluation:
    return evaluate(step, rows, task=TASK, languages=LANGUAGES, world=World())


def predictions(model: Teacher, batch: Batch) -> torch.Tensor:
    return model(batch, LayersWanted()).logits_PK.argmax(dim=-1)


def test_one_teacher_stands_beside_the_student() -> None:
    teacher, (batch,) = live(1), batches()
    step = objective(a=(teacher, None))
    found = evaluated(step, [batch]).metrics()
    ours = predictions(step.student.eval(), batch)
    theirs = predictions(teacher, batch)
    assert found["accuracy"] == pytest.approx((ours == batch.labels_P).double().mean().item())
    assert found["teacher/accuracy"] == pytest.approx(
        (theirs == batch.labels_P).double().mean().item()
    )
    assert found["agreement"] == pytest.approx((ours == theirs).double().mean().item())
    assert {"agreement/sw", "accuracy/sw", "teacher/accuracy/sw"} <= set(found)
    assert not any(key.startswith("teacher/agreement") for key in found)


def test_several_teachers_have_their_names_and_only_their_languages() -> None:
    a, b, (batch,) = live(1), live(2), batches()
    step = objective(a=(a, None), b=(b, ("en", "sw")))
    found = evaluated(step, [batch]).metrics()
    is_served_P = batch.languages_B > 0
    ours, theirs = predictions(step.student.eval(), batch), predictions(b, batch)
    is_right_P, is_same_P = theirs == batch.labels_P, theirs == ours
    assert len(set(ours.tolist())) == len(set(theirs.tolist())) == 3
    assert found["teacher/b/accuracy"] == pytest.approx(
        is_right_P[is_served_P].double().mean().item()
    )
    assert found["teacher/b/agreement"] == pytest.approx(
        is_same_P[is_served_P].double().mean().item()
    )
    assert found["teacher/b/agreement/sw"] == pytest.approx(
        is_same_P[batch.languages_B == 2].double().mean().item()
    )
    assert {"teacher/a/accuracy/de", "teacher/a/agreement"} <= set(found)
    assert "teacher/b/accuracy/de" not in found
    assert not any(key.startswith("agreement") for key in found)


def test_without_a_teacher_the_student_stands_alone() -> None:
    found = evaluated(objective(), batches()).metrics()
    assert not any("teacher" in key or "agreement" in key for key in found)
    assert "accuracy/en" in found


def test_a_teacher_of_no_row_is_left_out() -> None:
    step = objective(a=(live(1), None), b=(live(2), ("sw",)))
    found = evaluated(step, batches(languages=(0, 1))).metrics()
    assert "teacher/a/accuracy" in found
    assert not any(key.startswith("teacher/b") for key in found)


def test_metrics_do_not_depend_on_the_batches() -> None:
    step = objective(a=(live(1), None), b=(live(2), ("en",)))
    whole = evaluated(step, batches()).metrics()
    assert len(whole) > 30
    for size in (1, 5):
        assert evaluated(step, batches(size=size)).metrics() == pytest.approx(whole, rel=1e-6)


def test_the_mode_of_the_objective_is_left_as_it_was() -> None:
    step = objective()
    for is_training in (True, False):
        step.train(is_training)
        evaluated(step, batches())
        assert step.training == step.student.model.training == is_training
    first, second = (evaluated(step.train(), batches()) for _ in range(2))
    assert torch.equal(first.student.sums_GS, second.student.sums_GS)


def tally_of(right: list[tuple[int, int]]) -> Tally:
    """Return the tally of so many right of so many positions in each language."""
    languages = [index for index, (_, total) in enumerate(right) for _ in range(total)]
    is_right = [position < hits for hits, total in right for position in range(total)]
    batch = TASK.collate(
        rows_of([[1]] * len(languages), languages=languages, labels=[0] * len(languages))
    )
    logits_PK = torch.zeros(len(languages), 3)
    logits_PK[:, 1] = 1.0
    logits_PK[torch.tensor(is_right), 0] = 2.0
    return tallied(TASK, logits_PK, batch, num_languages=len(right))


def test_a_gap_is_the_best_teachers_accuracy_minus_the_students() -> None:
    evaluation = Evaluation(
        student=tally_of([(1, 4), (3, 4), (2, 4), (0, 0)]),
        teachers={
            "a": tally_of([(2, 4), (1, 4), (0, 0), (0, 0)]),
            "b": tally_of([(4, 4), (2, 4), (0, 0), (0, 0)]),
        },
        task=TASK,
        languages=("de", "en", "fr", "sw"),
    )
    gaps = evaluation.accuracy_gaps()
    assert gaps == {"de": 0.75, "en": -0.25, "fr": 0.0, "sw": 0.0}


def test_an_equal_student_has_no_gap() -> None:
    teacher = live(1)
    step = objective(a=(teacher, ("de", "sw")))
    step.student.load_state_dict(teacher.model.state_dict())
    evaluation = evaluated(step, batches())
    assert evaluation.accuracy_gaps() == {"de": 0.0, "en": 0.0, "sw": 0.0}
    assert evaluation.metrics()["agreement"] == 1.0


def test_sums_are_over_all_workers_in_one_order_whoever_has_rows() -> None:
    step = objective(a=(live(1), None), b=(live(2), ("sw",)))
    idle, busy = ([TASK.collate(rows_of([]))], batches())
    shapes = []
    for rows in (idle, busy):
        evaluation = evaluated(step, rows)
        assert list(evaluation.teachers) == ["a", "b"]
        shapes.append([total.sums_GS.shape for total in evaluation.teachers.values()])
        has_rows = [bool(total.positions_G.any()) for total in evaluation.teachers.values()]
        assert has_rows == [rows is busy] * 2
    assert shapes[0] == shapes[1]
