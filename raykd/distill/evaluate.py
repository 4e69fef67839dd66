"""Score a student, and the teacher beside it, on rows that each worker has a share of."""

from collections.abc import Iterator

import torch

from raykd.batch import Rows
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.tasks.metrics import metrics
from raykd.tasks.tally import Tally, tally
from raykd.tasks.task import Task


@torch.no_grad()
def evaluate(
    objective: DistillationStep,
    rows: Iterator[Rows],
    *,
    task: Task,
    languages: tuple[str, ...],
    micro_batch_size: int,
    world: World,
) -> dict[str, float]:
    """Return the metrics of the student over the rows of all workers.

    Where there is a teacher, its own metrics stand beside them as ``teacher/...``, and
    ``agreement`` says how often the two predict the same.
    """
    was_training = objective.training
    objective.eval()
    totals: list[Tally] = []
    for batch_rows in _pieces(rows, micro_batch_size):
        batch = task.collate(batch_rows).to(world.device)
        student_logits_PK = objective.student_logits(batch)
        teacher_logits_PK = objective.teacher_logits(batch)
        found = [
            tally(
                task,
                student_logits_PK,
                batch,
                num_languages=len(languages),
                teacher_logits_PK=teacher_logits_PK,
            )
        ]
        if teacher_logits_PK is not None:
            found.append(tally(task, teacher_logits_PK, batch, num_languages=len(languages)))
        totals = [a + b for a, b in zip(totals, found, strict=True)] if totals else found
    objective.train(was_training)
    student, *teacher = [
        metrics(Tally(sums_GS=world.sum(total.sums_GS)), task=task, languages=languages)
        for total in totals
    ]
    return student | {
        f"teacher/{name}": value for values in teacher for name, value in values.items()
    }


def _pieces(rows: Iterator[Rows], micro_batch_size: int) -> Iterator[Rows]:
    """Cut into micro-batches; a worker without rows gets one empty one, to take part in sums."""
    is_empty = True
    for some in rows:
        is_empty = False
        yield from some.split(micro_batch_size)
    if is_empty:
        yield Rows.none()
