"""What the words of the page mean: those that it uses, in a sentence each."""

from dataclasses import dataclass

from raykd.report.grids import QUALITY, TEACHER, is_weight
from raykd.report.summary import Summary


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
