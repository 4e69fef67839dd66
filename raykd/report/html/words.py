"""What the words of the page mean: those that it uses, in a sentence each."""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.report.grids import QUALITY, TEACHER, is_weight
from raykd.report.summary import Summary
from raykd.sweep.questions.answers import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word and its meaning."""

    word: str
    meaning: str


_ALWAYS = (
    Word(
        word="Arm", meaning="trials that differ by their seed only; its name says what it tries."
    ),
    Word(
        word="Control",
        meaning="the same training without the teacher's losses, on labels alone: what each arm "
        "is compared with. A pair is a trial and the control of the same seed.",
    ),
)
_TEACHER = Word(word="teacher", meaning="whose outputs the student learns from.")
_WEIGHT = Word(
    word="weight",
    meaning="how much a loss counts beside the others; 4 -> 1 falls from 4 to 1 in training.",
)
_START = Word(
    word="init",
    meaning="where the student's first weights come from: none is at random, else it names a "
    "method.",
)

_PROBE = Word(
    word="probe",
    meaning="a task that models are trained on from where they are, and scored; probe/NAME/METRIC "
    "is the mean over the probe's seeds, probe/mean that over the probes, each scaled so that a "
    "model that knows nothing has 0.",
)


def words(summary: Summary) -> tuple[Word, ...]:
    """Return the words that a reader needs for the arms of a sweep."""
    keys = {key for arm in summary.arms for key in arm.coordinates}
    shown = list(_ALWAYS)
    shown += [_TEACHER] if TEACHER in keys else []
    shown += [_quality(summary)] if QUALITY in keys else []
    shown += [_WEIGHT] if any(is_weight(key) for key in keys) else []
    shown += [_START] if "student.init" in keys else []
    shown += [_PROBE] if summary.probes.columns else []
    return tuple(shown)


def _quality(summary: Summary) -> Word:
    """Explain qualities by the weakest of the sweep."""
    shares = [a.coordinates[QUALITY] for a in summary.arms if QUALITY in a.coordinates]
    return Word(
        word="quality",
        meaning=f"how far the teacher was trained itself: quality {min(shares):g} is the teacher "
        f"as it was after {100 * min(shares):g}% of its steps, quality 1 at its end.",
    )


_NO = Word(word="No", meaning="the opposite of the claim is significant.")
_UNDECIDED = Word(
    word="Undecided", meaning="these seeds do not tell. It does not mean no, nor equal."
)
_PART = Word(
    word="Part",
    meaning="must hold for the question above it to hold. That one counts among the study's; its "
    "parts are tested at its level.",
)
_AFTERWARDS = Word(
    word="Asked afterwards",
    meaning="written down, or given other seeds or arms, when its arms had results, which may "
    "have suggested it. It is adjusted for all questions; the planned ones are not adjusted for "
    "it.",
)
_WITHDRAWN = Word(
    word="Withdrawn",
    meaning="taken out of the study when its arms had results. The others are adjusted for it "
    "still.",
)


def answer_words(answers: Sequence[Answer]) -> tuple[Word, ...]:
    """Return the words that a reader needs for these answers."""
    needed = (
        (_NO, any(a.verdict == "no" for a in answers)),
        (_UNDECIDED, any(a.verdict == "undecided" for a in answers)),
        (_PART, any(a.part_of is not None for a in answers)),
        (_AFTERWARDS, any(a.is_afterwards for a in answers)),
        (_WITHDRAWN, any(a.is_withdrawn for a in answers)),
    )
    return tuple(word for word, holds in needed if holds)
