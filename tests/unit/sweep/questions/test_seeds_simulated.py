"""Whole studies on paper: more seeds for undecided questions leave the error rate at 5 %."""

import random
import statistics
from dataclasses import dataclass
from typing import Any

from raykd.config.load import checked_sweep, plain
from raykd.sweep.questions.answers import Verdict, answers_of
from raykd.sweep.questions.seeds import going_on, looks_of
from scipy.special import bdtrik

from tests.sweeps import evaluations_of, trial_of

ARMS = ("base", "a", "b", "c")
SWEEP = checked_sweep(
    {
        "name": "study",
        "base": "base.yaml",
        "pairs": {"start": {arm: {} for arm in ARMS}},
        "seeds": {"at_least": 3, "at_most": 12},
        # One arm is in all of them, so that they err together, or not.
        "questions": {
            "a-better": {"compare": {"start": "a"}, "with": {"start": "base"}},
            "b-harms": {"compare": {"start": "b"}, "with": {"start": "base"}, "expect": "worse"},
            "c-acts": {
                "compare": {"start": "c"},
                "with": {"start": "base"},
                "expect": "different",
            },
        },
    },
    origin="sweep",
)
FILE: dict[str, Any] = plain(SWEEP)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    verdicts: dict[str, Verdict]
    num_seeds: dict[str, int]
    """Arm to its seeds."""

    @property
    def is_decided(self) -> bool:
        return set(self.verdicts.values()) != {"undecided"}


def simulated(rng: random.Random, effects: dict[str, float] | None = None) -> Outcome:
    """Run a study whose arms' losses vary by 1 over seeds, lower by their effects."""
    records = {}
    arms, names = set(ARMS), set(SWEEP.questions)
    for look in looks_of(SWEEP):
        for arm in sorted(arms):
            for seed in look.added:
                loss = rng.gauss(0, 1) - (effects or {}).get(arm, 0.0)
                trial = trial_of({"start": arm}, seed=seed, evaluations=evaluations_of([loss]))
                records[trial.id] = trial
        answers = answers_of(FILE, records, seeds=look.seeds)
        names &= going_on(answers, look.seeds).keys()
        of_arm = {record.arm: record.coordinates["start"] for record in records.values()}
        arms = {of_arm[arm] for a in answers if a.name in names for arm in a.weights}
    # As a report: of all seeds that there are, not all arms having the same.
    return Outcome(
        verdicts={answer.name: answer.verdict for answer in answers_of(FILE, records)},
        num_seeds={
            arm: sum(r.coordinates["start"] == arm for r in records.values()) for arm in ARMS
        },
    )


def seeds_used(outcomes: list[Outcome]) -> float:
    return statistics.fmean(n for outcome in outcomes for n in outcome.num_seeds.values())


def test_studies_without_any_effect_are_wrong_in_one_of_twenty_at_most() -> None:
    number = 250
    rng = random.Random(11)
    outcomes = [simulated(rng) for _ in range(number)]
    wrong = sum(outcome.is_decided for outcome in outcomes)
    # What a rate of 5 % exceeds by chance in one of a thousand tests.
    most = float(bdtrik(0.999, number, 0.05))
    used = seeds_used(outcomes)
    assert wrong <= most, (
        f"{wrong} of {number} studies are wrong, with {used:.1f} seeds for an arm"
    )
    assert used > 11, f"{used:.1f} seeds for an arm"


def test_a_large_effect_is_found_with_few_seeds_and_others_go_on() -> None:
    rng = random.Random(12)
    outcomes = [simulated(rng, {"a": 20.0}) for _ in range(20)]
    assert {outcome.verdicts["a-better"] for outcome in outcomes} == {"yes"}
    used = statistics.fmean(outcome.num_seeds["a"] for outcome in outcomes)
    assert used < 5, f"{used:.1f} seeds for an arm with an effect of 20 standard deviations"
    assert statistics.fmean(outcome.num_seeds["c"] for outcome in outcomes) > 11
