"""A pair of models, and one line of what there is to say about it."""

from dataclasses import dataclass
from typing import Literal

from raykd.config.schema.run import TaskName
from raykd.data.manifest import Manifest
from raykd.planning.pair.candidate import Candidate

Verdict = Literal["ok", "warning", "error"]

Judgement = tuple[Verdict, str]
"""A verdict, and what it means or what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairFinding:
    """One line of the comparison."""

    name: str
    teacher: str
    student: str
    verdict: Verdict = "ok"
    advice: str = ""
    """What it means, or what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two models, the task, and perhaps the data."""

    teacher: Candidate
    student: Candidate
    task: TaskName
    manifest: Manifest | None

    @property
    def classifies(self) -> bool:
        """Whether classes are scored, and not the vocabulary."""
        return not self.task.endswith("_lm")

    @property
    def vocab_size(self) -> int | None:
        """Entries of the tokenizer: the data's, or the first that lies beside a model."""
        if self.manifest is not None:
            return self.manifest.tokenizer.vocab_size
        for candidate in (self.teacher, self.student):
            if candidate.tokenizer_info is not None:
                return candidate.tokenizer_info.vocab_size
        return None

    @property
    def longest_row(self) -> int | None:
        """Tokens of the data's longest row."""
        return None if self.manifest is None else self.manifest.max_length

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the data's classes."""
        return None if self.manifest is None else self.manifest.labels_of(self.task)
