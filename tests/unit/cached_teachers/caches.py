"""Small caches of a tiny teacher, built by the code that builds real ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from raykd.batch import Batch, ModelOutputs
from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.run import TaskName
from raykd.data.manifest import Manifest, read_manifest
from raykd.models.scored import ScoredModel
from raykd.tasks.build import build_task
from raykd.tasks.task import Task
from raykd.teachers.cache.building import AskingWriter, Progress, Watch, build_cache
from raykd.teachers.cache.key import CacheKey, Masks
from raykd.teachers.cache.parts import Coverage
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.reading import opened_cache
from raykd.teachers.cache.runner import TeacherRunner
from raykd.teachers.cached import CachedTeacher
from raykd.teachers.live import LiveTeacher, Teacher

from tests.small_runs import TINY_BERT, TINY_LLAMA, small_data
from tests.tiny_models import tiny_model

CPU = torch.device("cpu")
LOGITS = Payload(mode="logits", precision="exact")
HIDDEN = Payload(mode="hidden", precision="exact")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A teacher, its task and its data."""

    manifest: Manifest
    task: Task
    teacher: LiveTeacher

    def key(self, payload: Payload) -> CacheKey:
        """Return the key of a cache of the teacher."""
        masks = Masks(masking=MaskingConfig(), seed=3) if self.task.name == "masked_lm" else None
        return CacheKey(
            teacher="weights",
            dtype="float32",
            data=self.manifest.fingerprint,
            tokenizer=self.manifest.tokenizer.fingerprint,
            task=self.task.name,
            masks=masks,
            payload=payload,
        )

    @property
    def runner(self) -> TeacherRunner:
        """Who asks the teacher."""
        return self.runner_of(self.teacher)

    @property
    def writer(self) -> AskingWriter:
        """Who writes what the teacher says."""
        return AskingWriter(self.runner)

    def runner_of(self, teacher: Teacher) -> TeacherRunner:
        """Return who asks another one about the same rows."""
        return TeacherRunner(
            name="big",
            manifest=self.manifest,
            task=self.task,
            teacher=teacher,
            batch_size=5,
            device=CPU,
        )

    def coverages(self, *, epochs: int = 1, languages: Sequence[str] = ("de", "en")) -> Any:
        """Return what a run of some mask epochs on some languages reads."""
        return [
            Coverage(shard=shard, epoch=epoch, ranges=(range(shard.rows),))
            for split, number in (("train", epochs), ("validation", 1))
            for epoch in range(number)
            for shard in self.manifest.splits[split]
            if shard.language in languages
        ]

    def build(self, uri: str, payload: Payload, watch: Watch | None = None, **of: Any) -> Progress:
        """Build a cache."""
        return build_cache(
            uri, self.key(payload), self.coverages(**of), self.writer, watch or Watch()
        )

    def cached(self, stack: Any, uri: str, payload: Payload) -> CachedTeacher:
        """Open a cache as a teacher."""
        key, languages = self.key(payload), self.manifest.languages
        return CachedTeacher(
            stack.enter_context(opened_cache(uri, key, languages=languages)), device=CPU
        )

    def batch(self, indices: Sequence[int], *, shard: int = 0, epoch: int = 0) -> Batch:
        """Return some rows of a training shard in any order."""
        chosen = self.manifest.splits["train"][shard]
        rows = self.runner.rows(chosen, 0, chosen.rows, epoch=epoch)
        return self.task.collate(rows.take(torch.tensor(indices).numpy()))


def subject(path: Path, name: TaskName = "masked_lm") -> Subject:
    """Return a teacher of random weights for small data."""
    small_data(path)
    return subject_of(path, name)


def subject_of(path: Path, name: TaskName) -> Subject:
    """Return the same for data that is there."""
    manifest = read_manifest(str(path))
    like = TINY_LLAMA if name == "causal_lm" else TINY_BERT
    model = tiny_model(
        str(like["model_type"]), name, hidden_size=16, num_heads=2, intermediate_size=32
    )
    labels = manifest.labels_of(name)
    task = build_task(
        name,
        tokenizer=manifest.tokenizer,
        labels=labels,
        masking=MaskingConfig(),
        seed=3,
        summary="first",
    )
    scored = ScoredModel(model, task=name, num_classes=task.num_classes)
    return Subject(manifest=manifest, task=task, teacher=LiveTeacher(scored))


def in_half(of: Subject) -> Subject:
    """Return the subject with a teacher in bfloat16."""
    return replace(of, teacher=LiveTeacher(of.teacher.model.to(torch.bfloat16)))


def outputs(teacher: Any, batch: Batch) -> ModelOutputs:
    """Return what a teacher says, asked as the ensemble does."""
    outputs: ModelOutputs = teacher(batch)
    return outputs
