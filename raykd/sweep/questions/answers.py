"""What the results of a study answer to its questions."""

from dataclasses import dataclass
from typing import Literal

from raykd.config.schema.questions import QuestionConfig

Verdict = Literal["yes", "no", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A question, and what is known of its answer."""

    name: str
    question: QuestionConfig
    asked: str
    """What is asked, in words, such as ``start=tuned minus start=random is better``."""

    metric: str
    """What the numbers are of, such as test/macro_f1, or steps to 0.8 of it."""

    mode: Literal["min", "max"]
    """Whether less or more of it is better."""

    verdict: Verdict
    reason: str
    """The rule in one sentence with its figures; why it is undecided, where it is."""

    differences: dict[int, float]
    """Seed to what is asked about; only where all runs of the seed are done. Empty for a question
    that has parts."""

    num_planned: int
    """Seeds there are when all runs are done."""

    estimate: float | None
    """Mean of the differences; None without any."""

    low: float | None
    """Lower end of the interval of the mean, for this question alone; None where the spread is
    unknown: fewer than 2 seeds, or all differences the same."""

    high: float | None
    """Upper end of that interval."""

    level: float
    """Of the interval: 0.95, or 0.9 where one side counts, as for alike and no worse."""

    p: float | None
    """Of the verdict that is nearer, for this question alone; of a question with parts from those
    of its parts; None where low is."""

    adjusted_p: float | None
    """Holm's, over all questions of the study; None where it is not ready for a verdict, and for
    parts."""

    smallest: float | None
    """Smallest difference (to the margin, where there is one) that these seeds could have shown;
    None where p is, and for a question that has parts."""

    weights: dict[str, float]
    """Arm to its weight in the difference: the evidence. Empty for a question that has parts."""

    part_of: str | None = None
    """The question that this one is a part of; it has p, and the verdict of its own p at the level
    of the whole."""

    is_afterwards: bool = False
    """Whether it was asked when its arms had results."""

    is_withdrawn: bool = False
    """Whether it was taken out of the study's file when its arms had results."""

    asked_at: float | None = None
    """When it was first asked, in seconds since the epoch; None where it is not yet in the
    ledger."""

    @property
    def num_seeds(self) -> int:
        """Seeds with all runs done."""
        return len(self.differences)
