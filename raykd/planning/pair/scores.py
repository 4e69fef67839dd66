"""How good two models are on data, each by itself."""

import math
from collections.abc import Iterator, Mapping

import torch

from raykd.config.schema.data import DataConfig
from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig
from raykd.config.schema.model import StudentConfig, TeacherConfig
from raykd.config.schema.run import RunConfig
from raykd.config.schema.train import TrainConfig
from raykd.data.manifest import Manifest
from raykd.distill.assemble import task_of
from raykd.distill.batches import evaluation_batches
from raykd.distill.evaluate import evaluate
from raykd.distill.models import load_teachers
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.errors import MissingHeadError, ModelError
from raykd.planning.pair.candidate import Candidate
from raykd.planning.pair.finding import Judgement, Pair, PairFinding

_QUALITY = ("loss", "accuracy")
_MICRO_BATCH_SIZE = 16


def scores(pair: Pair, split: str) -> Iterator[PairFinding]:
    """Score both on a split, where they have heads for the task: is the teacher good enough?

    Raises:
        DataError: The split is not there or has nothing to score.
    """
    assert pair.manifest is not None  # noqa: S101  asked only where there is data
    try:
        of_teacher = _scores_of(pair.teacher, pair, pair.manifest, split)
    except ModelError as error:
        yield PairFinding(
            name="scores", teacher="none", student="-", verdict="error", advice=str(error)
        )
        return
    try:
        of_student = _scores_of(pair.student, pair, pair.manifest, split)
    except MissingHeadError:
        of_student = {}  # it has no head for these classes yet, and need not have one
    except ModelError as error:
        yield PairFinding(
            name="scores", teacher="-", student="none", verdict="error", advice=str(error)
        )
        return
    for name, value in of_teacher.items():
        if name.split("/")[0] in _QUALITY:
            yield _line(name, value, of_student.get(name), split)


def _line(name: str, teacher: float, student: float | None, split: str) -> PairFinding:
    verdict, advice = _judged(name, teacher, student)
    return PairFinding(
        name=f"{name}, {split}",
        teacher=f"{teacher:.4f}",
        student="no trained head" if student is None else f"{student:.4f}",
        verdict=verdict,
        advice="" if "/" in name else advice,
    )


def _judged(name: str, teacher: float, student: float | None) -> Judgement:
    if not math.isfinite(teacher):
        return "error", "the teacher says NaN or infinity about some rows: take another"
    if student is not None and not math.isfinite(student):
        return "error", "the student says NaN or infinity about some rows: take another"
    is_weaker = student is not None and (
        teacher > student if name.startswith("loss") else teacher < student
    )
    if is_weaker:
        return "warning", "a weak teacher: let its losses weigh less than the labels"
    return "ok", ""


def _scores_of(
    candidate: Candidate, pair: Pair, manifest: Manifest, split: str
) -> Mapping[str, float]:
    """Return the metrics of a model by itself.

    Raises:
        MissingHeadError: It has no trained head for the task and the classes.
        ModelError: It cannot be loaded.
    """
    config = RunConfig(
        name="doctor",
        task=pair.task,
        data=DataConfig(uri=manifest.uri, eval_split=split),
        student=StudentConfig(pretrained=candidate.source),
        losses=LossesConfig(cross_entropy=CrossEntropyConfig()),
        train=TrainConfig(micro_batch_size=_MICRO_BATCH_SIZE),
        teachers={"scored": TeacherConfig(model=candidate.source)},
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    world = World(device=device)
    model = load_teachers(config, manifest)["scored"].to(device)
    task = task_of(config, manifest, model_type=candidate.config.model_type)
    found = evaluate(
        DistillationStep(model, ensemble=None, terms=(), autocast_dtype=None),
        evaluation_batches(config, manifest, task, split=split, world=world),
        task=task,
        languages=manifest.languages,
        world=world,
    )
    return found.metrics(task, manifest.languages)
