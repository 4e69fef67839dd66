"""Score a student, and the teachers beside it, on rows that each worker has a share of."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from raykd.batch import Batch
from raykd.distill.sharding import release
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.tasks.metrics import metrics
from raykd.tasks.tally import Tally, predictions, tally
from raykd.tasks.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What an evaluation counted, over the rows of all workers."""

    student: Tally
    teachers: dict[str, Tally]
    """Each over the rows of the languages that it serves, compared with the student there."""

    task: Task
    languages: tuple[str, ...]
    """Languages of the manifest, in whose order the tallies count."""

    unseen: tuple[str, ...] = ()
    """Languages of ``data.eval_languages`` that are not trained on."""

    def metrics(self) -> dict[str, float]:
        """Return the metrics by name: see ``raykd.tasks.metrics``.

        The student's metrics have no prefix. One teacher's stand beside them as
        ``teacher/...``, and ``agreement`` says how often the two predict the same; of several,
        everything is called ``teacher/NAME/...``, agreement with the student too. A teacher
        that serves none of the rows is left out.

        Raises:
            DataError: No position was scored.
        """
        values = self._metrics(self.student)
        for name, total in self.teachers.items():
            if not total.positions_G.any():
                continue
            of_teacher = self._metrics(total)
            if len(self.teachers) > 1:
                values |= {f"teacher/{name}/{key}": value for key, value in of_teacher.items()}
                continue
            for key, value in of_teacher.items():
                # Also seen/agreement and unseen/agreement.
                is_agreement = "agreement" in key.split("/")[:2]
                values[key if is_agreement else f"teacher/{key}"] = value
        return values

    def _metrics(self, total: Tally) -> dict[str, float]:
        return metrics(total, task=self.task, languages=self.languages, unseen=self.unseen)

    def accuracy_gaps(self) -> dict[str, float]:
        """Return how far the student is behind, by language.

        That is the accuracy of the best teacher that serves the language minus the student's:
        negative where the student is ahead, 0 where no teacher serves it or no row is in it.
        Accuracies are quotients of counts, so the order of summation changes nothing.
        """
        gaps = dict.fromkeys(self.languages, 0.0)
        student_G = self.student.accuracies_G.tolist()
        for index, language in enumerate(self.languages):
            teachers = [
                float(total.accuracies_G[index])
                for total in self.teachers.values()
                if total.positions_G[index] > 0
            ]
            if teachers:
                gaps[language] = max(teachers) - student_G[index]
        return gaps


@torch.no_grad()
def evaluate(
    objective: DistillationStep,
    batches: Iterable[Batch],
    *,
    task: Task,
    languages: tuple[str, ...],
    unseen: tuple[str, ...] = (),
    world: World,
) -> Evaluation:
    """Return what the student and its teachers score on the batches of all workers.

    A teacher is asked about all rows of the languages that it serves, however much it counts
    in training.

    Args:
        objective: Student and teachers; its mode, training or evaluation, is left as it was.
        batches: This worker's share, on its device.
        task: What made the batches.
        languages: Of the manifest; the batches' languages are indices into them.
        unseen: Those of them that are evaluated on and not trained on.
        world: Every worker takes part in the sums, one without rows too.
    """
    was_training = objective.training
    objective.eval()
    nothing = Tally.none(task, num_languages=len(languages), device=world.device)
    student = nothing
    teachers = dict.fromkeys(
        () if objective.ensemble is None else objective.ensemble.teachers, nothing
    )
    for batch in batches:
        of_student = predictions(objective.student_outputs(batch).scores, batch.labels_P)
        student += tally(task, of_student, batch, num_languages=len(languages))
        for signal in objective.served(batch):
            teachers[signal.name] += tally(
                task,
                predictions(signal.outputs.scores, signal.batch.labels_P),
                signal.batch,
                num_languages=len(languages),
                other_classes_P=of_student.classes_P[signal.asked],
            )
    objective.train(was_training)
    # What follows, such as a checkpoint, reads shards and needs the memory.
    release(objective)
    return Evaluation(
        student=_summed(student, world),
        teachers={name: _summed(total, world) for name, total in teachers.items()},
        task=task,
        languages=languages,
        unseen=unseen,
    )


def _summed(total: Tally, world: World) -> Tally:
    numbers_N3 = total.numbers_N3
    return Tally(
        # A copy: the sum over the workers is made in place, and tallies of no rows are shared.
        sums_GS=world.all_reduce_sum(total.sums_GS.clone()).cpu(),
        numbers_N3=None if numbers_N3 is None else world.all_gather(numbers_N3.cpu()),
    )
