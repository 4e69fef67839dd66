"""More seeds where they decide: which questions go on to the next look at the results.

All arms of a study are trained with its ``seeds``: that is the first look. Arms of questions that
are undecided there get as many again of ``more_seeds``, and so on until all are spent. What is
decided at a look depends on the runs of this look and of those before it, and on nothing later:
an interrupted study goes on with the same runs.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from raykd.config.schema.sweep import SweepConfig
from raykd.stats.sequential import looks
from raykd.sweep.questions.answers import Answer
from raykd.sweep.record import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One look at the results of a study."""

    number: int
    """From 1 on."""

    seeds: tuple[int, ...]
    """All seeds until then."""

    added: tuple[int, ...]
    """Those that the look before had not."""

    following: tuple[int, ...]
    """Those that the next look adds; empty for the last."""


def looks_of(sweep: SweepConfig) -> tuple[Look, ...]:
    """Return the looks that there may be at most; none where no seeds may follow."""
    if not sweep.more_seeds:
        return ()
    every = (*sweep.seeds, *sweep.more_seeds)
    ends = looks(len(sweep.seeds), len(every))
    added = [every[start:end] for start, end in pairwise((0, *ends))]
    return tuple(
        Look(number=number, seeds=every[:end], added=own, following=following)
        for number, (end, own, following) in enumerate(
            zip(ends, added, (*added[1:], ()), strict=True), start=1
        )
    )


def is_over(records: Mapping[str, Record], seeds: Collection[int]) -> bool:
    """Tell whether all trials with some seeds have ended, and all probes of these.

    Args:
        records: Id to record, of all kinds.
        seeds: Of the looks so far.
    """
    trials = {r.id for r in records.values() if r.kind == "trial" and r.seed in seeds}
    return all(r.state.is_terminal for r in records.values() if {r.id, r.probed} & trials)


def going_on(answers: Iterable[Answer], seeds: Collection[int]) -> dict[str, Answer]:
    """Return the questions that more seeds may decide, by name.

    These are undecided, and each seed so far has a difference. Where one has none, because a run
    failed, diverged, was stopped early or never reached a value, further seeds give no verdict
    either. Flat differences go on: steps, or a small test set, may differ with other seeds. A
    question whose ``given`` is still open goes on with it. With one that has parts go those that
    are not yes, or all; as long as all may be answered. What has been withdrawn is asked no more.

    Args:
        answers: From these seeds alone.
        seeds: Of the looks so far.
    """
    # One that was withdrawn may have the name of another.
    known = {answer.name: answer for answer in answers if not answer.is_withdrawn}

    def is_answerable(answer: Answer) -> bool:
        if answer.verdict != "undecided":
            return True
        given = [known[name] for name in answer.question.given]
        if any(other.verdict == "no" or not is_answerable(other) for other in given):
            return False
        if answer.question.is_whole:
            return all(is_answerable(known[part]) for part in answer.question.all)
        return answer.differences.keys() >= {*seeds}

    going: dict[str, Answer] = {}
    for name, answer in known.items():
        is_open = answer.verdict == "undecided" and answer.part_of is None
        if is_open and is_answerable(answer):
            parts = [known[part] for part in answer.question.all]
            # One may be yes by itself and too weak for the whole, which counts the weakest.
            open_parts = [part for part in parts if part.verdict != "yes"] or parts
            going |= {name: answer} | {part.name: part for part in open_parts}
    return going
