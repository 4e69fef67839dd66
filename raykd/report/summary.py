"""All that a report says about a sweep, as data: the terminal, the page and the files show it."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from raykd.report.aggregates import Aggregate, aggregates_of
from raykd.report.arms import Arm, arms_of
from raykd.report.cost import Cost, costs_of, total_cost
from raykd.report.curves import Curve, curves_of
from raykd.report.efficiency.frontier import Frontier, frontiers_of
from raykd.report.efficiency.latencies import Latency
from raykd.report.efficiency.sizes import Sizes, sizes_of
from raykd.report.events import Event, events_of
from raykd.report.grids import Grid, grids_of
from raykd.report.languages import Languages, languages_of
from raykd.report.pairing import pairing_of
from raykd.report.probes import ProbeScores, probe_scores_of
from raykd.report.qualities import Quality, qualities_of
from raykd.report.standing import Standing, standing_of
from raykd.report.statistics import RULES, TWO_SEEDS
from raykd.report.targets import ToTarget, targets_of
from raykd.report.tuning import Tuning, tuning_of
from raykd.sweep.ledger import Ledger
from raykd.sweep.questions.answers import Answer, answers_of
from raykd.sweep.record import KIND, State

ANSWERS_RULE = (
    "A question is answered yes or no where p is below 0.05 by Student's t over seeds, adjusted "
    "for all questions of the study (Holm) and for its looks at the results, where it has "
    "several; parts are judged at the level of their whole. The interval is that of the question "
    "alone, without adjustment: 95 %, and 90 % where one side counts (alike, no worse)."
)
_FIRST_SEEDS = "Arms are compared over the first {} seeds alone: further ones are for questions."
_NO_CONTROLS = "Arms without a control have means, and no verdict."


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a sweep found. Numbers that are not known, or not finite, are None."""

    name: str
    metric: str
    """What arms are compared by, such as eval/loss."""

    mode: Literal["min", "max"]
    """Whether less or more of it is better."""

    sweep_uri: str
    sweep: dict[str, Any]
    """The sweep file, resolved."""

    is_over: bool
    """Whether nothing is left to do."""

    standing: Standing
    """Whether anybody is at it, and what goes on with it."""

    states: dict[State, int]
    """How many trials are in each state; states without any are left out."""

    stage_states: dict[State, int]
    """The same of the stages, teachers' runs among them."""

    tuning_states: dict[State, int]
    """The same of the runs that choose values."""

    probe_states: dict[State, int]
    """The same of the probes."""

    answers: tuple[Answer, ...]
    """To the questions of the study, in the order of its file, parts after their whole."""

    rule: str
    """When an arm is called better or worse; why none is, where nothing is compared."""

    arms: tuple[Arm, ...]
    """In the order of the plan, controls too."""

    curves: tuple[Curve, ...]
    """One for each arm, in their order."""

    grids: tuple[Grid, ...]
    qualities: tuple[Quality, ...]
    probes: ProbeScores
    tuning: Tuning | None
    """None where the sweep tunes nothing."""

    languages: Languages
    aggregates: tuple[Aggregate, ...]
    """Arms over all probes, or all languages, in the order of the plan; none of one task."""

    costs: tuple[Cost, ...]
    """Stages, tuning, arms, probes."""

    total_cost: Cost
    sizes: Sizes
    frontier: tuple[Frontier, ...]
    """Quality against cost, for each cost that arms differ in."""

    latencies: tuple[Latency, ...]
    """All that were ever measured, on any machine."""

    to_target: tuple[ToTarget, ...]
    events: tuple[Event, ...]
    written_at: float
    """Seconds since the epoch."""

    @property
    def caution(self) -> str:
        """What to bear in mind with the verdicts; empty where there is nothing."""
        compared = (arm.comparison for arm in self.arms)
        rests_on_two = any(c is not None and c.rests_on_two for c in compared) or any(
            a.low is not None and a.num_seeds == 2  # noqa: PLR2004  one degree of freedom
            for a in self.answers
        )
        return TWO_SEEDS if rests_on_two else ""

    @property
    def num_trials(self) -> int:
        """Trials of the plan."""
        return sum(self.states.values())

    @property
    def stage_word(self) -> str:
        """What the stages are called: teachers' runs where they are nothing else."""
        return "stages" if self.sweep.get("stages") else "teachers' runs"

    @property
    def other_states(self) -> dict[str, dict[State, int]]:
        """What the runs beside trials are called, and how many are in each state."""
        states = {
            self.stage_word: self.stage_states,
            "tuning runs": self.tuning_states,
            "probes": self.probe_states,
        }
        return {name: counts for name, counts in states.items() if counts}

    def label(self, arm: str) -> str:
        """Return the label of an arm; the arm itself where the sweep has it no more."""
        return next((a.label for a in self.arms if a.id == arm), arm)


def summarise(ledger: Ledger, *, latencies: Sequence[Latency] = ()) -> Summary:
    """Return what a ledger says, at this moment.

    Args:
        ledger: Of the sweep.
        latencies: What was measured of its models, which no ledger says.
    """
    # First: all that follows counts trials by their states.
    ledger = _as_left(ledger)
    pairing = pairing_of(ledger)
    arms = arms_of(pairing)
    sizes = sizes_of(list(ledger.records.values()), latencies)
    return Summary(
        name=ledger.sweep["name"],
        metric=pairing.metric,
        mode=pairing.mode,
        sweep_uri=ledger.uri,
        sweep=ledger.sweep,
        is_over=ledger.is_over,
        standing=standing_of(ledger),
        states=_states(ledger, "trial"),
        stage_states=_states(ledger, "stage"),
        tuning_states=_states(ledger, "tuning"),
        probe_states=_states(ledger, "probe"),
        answers=answers_of(ledger.sweep, ledger.records, asked=ledger.asked),
        rule=_rule(arms, ledger.sweep),
        arms=arms,
        curves=curves_of(pairing),
        grids=grids_of(pairing),
        qualities=qualities_of(pairing),
        probes=probe_scores_of(pairing),
        tuning=tuning_of(ledger),
        languages=languages_of(pairing),
        aggregates=aggregates_of(pairing),
        costs=costs_of(pairing),
        total_cost=total_cost(pairing),
        sizes=sizes,
        frontier=frontiers_of(pairing, arms, sizes.rows),
        latencies=tuple(latencies),
        to_target=targets_of(pairing),
        events=events_of(pairing),
        written_at=time.time(),
    )


def _rule(arms: Sequence[Arm], sweep: Mapping[str, Any]) -> str:
    tests = (arm.comparison.test for arm in arms if arm.comparison is not None)
    rule = next((RULES[test] for test in tests), _NO_CONTROLS)
    if rule == _NO_CONTROLS or not sweep.get("more_seeds"):
        return rule
    return f"{rule} {_FIRST_SEEDS.format(len(sweep['seeds']))}"


def _states(ledger: Ledger, kind: KIND) -> dict[State, int]:
    return dict(Counter(run.state for run in ledger.records.values() if run.kind == kind))


def _as_left(ledger: Ledger) -> Ledger:
    """Return a ledger where nothing runs that nobody drives: it waits for the next start."""
    if ledger.is_driven:
        return ledger
    records = {
        # A driver that is killed cannot write that its trials have ended with it.
        name: replace(record, state=State.WAITING) if record.state is State.RUNNING else record
        for name, record in ledger.records.items()
    }
    return replace(ledger, records=records)
