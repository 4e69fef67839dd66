"""What the questions of a study can show: known before it runs, and better with results.

The yardstick is the standard deviation of the differences over seeds. How large that is in units
of the metric is known from runs alone: those of the study that are done, or those of a pilot.
"""

import bisect
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raykd.config.schema.questions import EXPECTED, QuestionConfig
from raykd.stats.means import SIGNIFICANCE
from raykd.stats.power import detectable, seeds_for
from raykd.stats.power_of_arms import detectable_among
from raykd.stats.sequential import looks, shares
from raykd.stats.spread import deviation_limit
from raykd.sweep.ledger import Asked, Ledger
from raykd.sweep.probe_scores import with_probe_metrics
from raykd.sweep.questions.asked import asked_now
from raykd.sweep.questions.contrast import (
    ArmWeight,
    Contrast,
    Measure,
    contrasts_of,
    questions_of,
)
from raykd.sweep.questions.values import differences_of
from raykd.sweep.record import Record

PILOT = "the pilot"
"""What results of an earlier study that the study names are of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How much differences vary over seeds, as far as results tell."""

    limit: float
    """Upper confidence limit of their standard deviation, in units of the metric, see
    ``raykd.stats.spread``."""

    num_seeds: int
    """Seeds that it is known from."""

    origin: str
    """What these are of, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Power:
    """What a test of differences over seeds can show, once all of its seeds are there."""

    expect: EXPECTED
    num_tests: int
    """Tests that share 5 %, this one among them."""

    first_seeds: int
    """Seeds that every arm is trained with."""

    num_seeds: int
    """All, with the further ones that an undecided question may get."""

    spread: Spread | None
    """None without results."""

    wanted: float | None = None
    """Difference that is to be found, or margin, in units of the metric, where one is given."""

    is_of_arms: bool = False
    """Whether it is that of the comparison of arms with their controls."""

    @property
    def last_share(self) -> float:
        """Share of the error rate that the look at all seeds has."""
        return shares(looks(self.first_seeds, self.num_seeds))[-1]

    @property
    def alpha(self) -> float:
        """Level of the test: what Holm's first step leaves of 5 %, and the last look of that."""
        return SIGNIFICANCE / self.num_tests * self.last_share

    @property
    def finds(self) -> float | None:
        """Difference that is found in 80 % of cases, in standard deviations.

        For alike and no worse it is the margin, where there is no difference. None for one seed.
        """
        if self.is_of_arms:
            return detectable_among(self.num_tests, self.num_seeds)
        return detectable(self.num_seeds, expect=self.expect, alpha=self.alpha)

    @property
    def finds_in_units(self) -> float | None:
        """What is found, in units of the metric; None without results."""
        return self.finds * self.spread.limit if self.finds and self.spread else None

    @property
    def share_found(self) -> float | None:
        """Share of cases in which what is wanted is found; None where that is not known."""
        if self.wanted_in_deviations is None or self.finds is None:
            return None

        def finds(percent: int) -> float:
            power = percent / 100
            found = detectable(self.num_seeds, expect=self.expect, alpha=self.alpha, power=power)
            return found or 0.0

        found = bisect.bisect_right(range(1, 100), self.wanted_in_deviations, key=finds)
        return found / 100

    @property
    def is_enough(self) -> bool | None:
        """Whether what is wanted is found in 80 % of cases; None where that is not known."""
        if self.wanted_in_deviations is None or self.finds is None:
            return None
        return self.finds <= self.wanted_in_deviations

    @property
    def needed_seeds(self) -> int | None:
        """Seeds that find what is wanted in 80 % of cases; None where that is not known."""
        if self.wanted_in_deviations is None:
            return None
        return seeds_for(self.wanted_in_deviations, expect=self.expect, alpha=self.alpha)

    @property
    def wanted_in_deviations(self) -> float | None:
        """What is wanted, in standard deviations; None where that is not known."""
        return self.wanted / self.spread.limit if self.wanted and self.spread else None


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionPower:
    """What one question can show."""

    name: str
    question: QuestionConfig
    part_of: str | None
    power: Power | None
    """None for a question that has parts, and for one whose arms are not there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPower:
    """What a study can show."""

    questions: tuple[QuestionPower, ...]
    """Parts after their whole."""

    arms: Power | None
    """Of an arm against its control; None where there are none."""

    has_pilot: bool

    @property
    def tests(self) -> tuple[Power, ...]:
        """Of all that is tested."""
        powers = (*(question.power for question in self.questions), self.arms)
        return tuple(power for power in powers if power is not None)


def power_of_study(
    sweep: Mapping[str, Any],
    records: Iterable[Record],
    *,
    before: Ledger | None = None,
    pilot: Ledger | None = None,
) -> StudyPower:
    """Return what a study can show.

    Args:
        sweep: The sweep file, resolved.
        records: Its runs, with the results that there are.
        before: What is known of it from earlier starts; their results count where its runs have
            none, as their configuration has changed.
        pilot: An earlier study, whose results count where it has none itself.
    """
    records = list(records)
    sources = [_Results(sweep, sweep, records, origin="this study")]
    for ledger, origin in ((before, "an earlier start"), (pilot, PILOT)):
        if ledger is not None:
            sources.append(_Results(sweep, ledger.sweep, ledger.records.values(), origin=origin))
    first = max(len(sweep["seeds"]), 1)
    num_compared = _num_compared(records)
    entries = asked_now(sweep, {r.id: r for r in records}, before=before, now=0.0)
    num_planned = sum(not entry.is_afterwards for entry in entries)
    questions = questions_of(sweep)

    def of(name: str, entry: Asked) -> QuestionPower:
        question = questions[name]
        power = Power(
            expect=question.expect,
            # What is asked afterwards makes nothing harder that was planned.
            num_tests=len(entries) if entry.is_afterwards else num_planned,
            first_seeds=first,
            num_seeds=first + len(sweep["more_seeds"]),
            spread=_first(source.of_question(name) for source in sources),
            wanted=question.margin or question.detect,
        )
        is_asked = name in sources[0].contrasts
        return QuestionPower(
            name=name,
            question=question,
            part_of=None if name == entry.name else entry.name,
            power=power if is_asked else None,
        )

    return StudyPower(
        questions=tuple(
            of(name, entry)
            for entry in entries
            if entry.withdrawn_at is None
            for name in (entry.name, *entry.parts)
        ),
        arms=Power(
            expect="different",
            num_tests=num_compared,
            # Further seeds are for questions.
            first_seeds=first,
            num_seeds=first,
            spread=_first(source.of_arms() for source in sources),
            is_of_arms=True,
        )
        if num_compared
        else None,
        has_pilot=pilot is not None,
    )


class _Results:
    """Runs of one study, and how much differences vary over their seeds."""

    def __init__(
        self,
        asked: Mapping[str, Any],
        sweep: Mapping[str, Any],
        records: Iterable[Record],
        *,
        origin: str,
    ) -> None:
        """Begin with nothing known of the arms.

        Args:
            asked: The study that asks, resolved.
            sweep: The study that the runs are of, resolved.
            records: The runs.
            origin: What the latter is called.
        """
        self._asked = asked
        self._records = with_probe_metrics(sweep, {record.id: record for record in records})
        self._origin = origin

    @functools.cached_property
    def contrasts(self) -> dict[str, Contrast]:
        """Questions without parts whose arms are there."""
        return contrasts_of(self._asked, self._records.values())[0]

    @functools.cached_property
    def comparisons(self) -> list[Contrast]:
        """Each arm minus its control."""
        return _comparisons(self._asked, self._records)

    def of_question(self, name: str) -> Spread | None:
        """Return how much the differences of a question vary; None where that is not known."""
        return self._spread([self.contrasts[name]] if name in self.contrasts else [])

    def of_arms(self) -> Spread | None:
        """Return how much an arm and its control vary, taken to be alike for all arms."""
        return self._spread(self.comparisons)

    def _spread(self, contrasts: Sequence[Contrast]) -> Spread | None:
        groups = [list(differences_of(c, self._records.values()).values()) for c in contrasts]
        if (limit := deviation_limit(groups)) is None:
            return None
        return Spread(limit=limit, num_seeds=max(map(len, groups)), origin=self._origin)


def _first(spreads: Iterable[Spread | None]) -> Spread | None:
    return next((spread for spread in spreads if spread is not None), None)


def _num_compared(records: Iterable[Record]) -> int:
    """Return how many arms are compared, those too that are still to be suggested."""
    # What stands for these is there as often as there are samples: so runs of one seed count.
    compared = [r for r in records if r.kind == "trial" and r.control and not r.is_control]
    return sum(record.seed == compared[0].seed for record in compared)


def _comparisons(asked: Mapping[str, Any], records: Mapping[str, Record]) -> list[Contrast]:
    measure = Measure(metric=asked["metric"], mode=asked["mode"])
    controls = {
        record.arm: control.arm
        for record in records.values()
        if record.kind == "trial" and not record.is_control
        if (control := records.get(record.control or "")) is not None
    }
    return [
        Contrast(
            weights=(
                ArmWeight(arm=arm, weight=1.0, measure=measure),
                ArmWeight(arm=control, weight=-1.0, measure=measure),
            ),
            mode=asked["mode"],
        )
        for arm, control in controls.items()
    ]
