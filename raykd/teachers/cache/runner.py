"""Ask a teacher about rows of the data as a run would."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from raykd.batch import Batch, LayersWanted, Rows
from raykd.data.lanes import BatchReader, addresses, as_rows
from raykd.data.manifest import Manifest, Shard
from raykd.errors import DataError, ModelError
from raykd.scores import Scores
from raykd.tasks.task import Task
from raykd.teachers.cache.hashing import position_keys, row_checks
from raykd.teachers.cache.payload import Encoding
from raykd.teachers.cache.records import Answers
from raykd.teachers.live import Teacher


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherRunner:
    """Whom to ask, and how."""

    name: str
    """Name of the teacher, for messages."""

    manifest: Manifest
    task: Task
    teacher: Teacher
    batch_size: int
    device: torch.device

    def scores(self, batch: Batch) -> Scores:
        """Return what the teacher says about a batch that is on the CPU.

        Raises:
            ModelError: It computes what is no finite number, which no run could use.
        """
        outputs = self.teacher(batch.to(self.device), LayersWanted())
        # The features: far fewer than scores of a vocabulary, where NaN in them is NaN, too.
        is_sound_P = outputs.hidden_PD.isfinite().all(dim=-1).cpu()
        if not is_sound_P.all():
            position = int((~is_sound_P).nonzero()[0])
            row_id = int(batch.row_ids_B[batch.examples_P[position]])
            message = (
                f"teachers.{self.name}: computes NaN or infinity for the row with the id "
                f"{row_id}; set teachers.{self.name}.dtype=float32 if it is narrower, or take "
                "another teacher"
            )
            raise ModelError(message)
        return outputs.scores

    def answers(self, rows: Rows, encoding: Encoding) -> Iterator[Answers]:
        """Yield what is kept of what it says about rows, a batch of like lengths at a time."""
        for piece in rows.split(self.batch_size):
            batch = self.task.collate(piece)
            checks_B, examples_P = row_checks(batch), batch.examples_P.numpy()
            keys_P = position_keys(checks_B, examples_P)
            yield Answers(
                row_ids_B=piece.row_ids_B,
                checks_B=checks_B,
                examples_P=examples_P,
                columns=encoding.encode(self.scores(batch), keys_P),
            )

    @property
    def shards(self) -> dict[str, Shard]:
        """The shards of the data, by path."""
        return {shard.path: shard for each in self.manifest.splits.values() for shard in each}

    def rows(self, shard: Shard, start: int, stop: int, *, epoch: int) -> Rows:
        """Read some neighbouring rows of a shard, as they are in a mask epoch.

        Raises:
            DataError: They cannot be read, or their ids do not rise.
        """
        reader = BatchReader(self.manifest, num_threads=1)
        pieces, last = [], 0
        try:
            for address in addresses(self.manifest, [shard]):
                first, last = last, last + address.rows
                if first < stop and last > start:
                    batch = reader.submit([address]).result()
                    begin = max(start - first, 0)
                    wanted = batch.slice(begin, min(stop - first, address.rows) - begin)
                    pieces.append(as_rows(wanted, epoch=epoch))
        finally:
            reader.close()
        rows = Rows.concatenate(pieces)
        if (np.diff(rows.row_ids_B) <= 0).any():
            message = (
                f"{self.manifest.uri}: the row ids of {shard.path} do not rise; prepare it again"
            )
            raise DataError(message)
        return rows
