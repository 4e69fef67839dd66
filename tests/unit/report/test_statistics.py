"""Verdicts are those of a textbook: rarely wrong where nothing differs, else found."""

import math

import numpy as np
import pytest
from raykd.report.statistics import Comparison, Evidence, compare


def evidence(
    *differences: float, num_planned: int | None = None, missing: str | None = None
) -> Evidence:
    return Evidence(
        control="control",
        differences=dict(enumerate(differences)),
        num_planned=len(differences) if num_planned is None else num_planned,
        missing=missing,
    )


def verdict_on(one: Evidence) -> Comparison:
    return compare({"arm": one}, mode="min")["arm"]


def test_where_no_arm_differs_at_most_one_study_in_twenty_names_one() -> None:
    generator = np.random.default_rng(11)
    num_studies, num_arms, num_seeds = 2_000, 7, 5
    alarms = 0
    for _ in range(num_studies):
        controls = generator.normal(size=num_seeds)
        arms = generator.normal(size=(num_arms, num_seeds)) - controls
        found = compare(
            {str(arm): evidence(*arms[arm].tolist()) for arm in range(num_arms)}, mode="min"
        )
        alarms += any(comparison.verdict != "inconclusive" for comparison in found.values())
    error = math.sqrt(0.05 * 0.95 / num_studies)
    assert alarms / num_studies <= 0.05 + 2 * error


def test_a_clear_effect_among_six_arms_without_one_is_found() -> None:
    generator = np.random.default_rng(12)
    num_studies = 300
    found = 0
    for _ in range(num_studies):
        controls = generator.normal(size=5)
        shifts = np.array([-6.0, 0, 0, 0, 0, 0, 0])[:, None]
        arms = controls + shifts + generator.normal(scale=1.0, size=(7, 5)) - controls
        comparisons = compare({str(i): evidence(*arms[i].tolist()) for i in range(7)}, mode="min")
        found += comparisons["0"].verdict == "better"
    assert found / num_studies > 0.9


@pytest.mark.parametrize(("mode", "verdict"), [("min", "worse"), ("max", "better")])
def test_more_is_better_or_worse_as_the_mode_says(mode: str, verdict: str) -> None:
    one = evidence(0.5, 0.51, 0.49)
    found = compare({"arm": one}, mode="max" if mode == "max" else "min")["arm"]
    assert found.verdict == verdict
    assert found.mean == pytest.approx(0.5)


def test_one_seed_is_an_anecdote_however_large_the_difference() -> None:
    found = verdict_on(evidence(-100.0))
    assert (found.verdict, found.reason) == ("inconclusive", "one seed: an anecdote")
    assert (found.mean, found.low, found.p) == (-100.0, None, None)


@pytest.mark.parametrize("differences", [(0.0, 0.0, 0.0), (0.3, 0.3, 0.1 + 0.2)])
def test_differences_that_are_all_the_same_are_no_proof(differences: tuple[float, ...]) -> None:
    found = verdict_on(evidence(*differences))
    assert found.verdict == "inconclusive"
    assert "all differences are the same" in found.reason
    assert found.low is None


def test_missing_pairs_leave_the_interval_but_no_verdict() -> None:
    found = verdict_on(evidence(-0.5, -0.51, -0.49, num_planned=4, missing="1 of 4 stopped"))
    assert (found.verdict, found.reason) == ("inconclusive", "1 of 4 stopped")
    assert found.p is not None
    assert found.p < 0.001
    assert found.adjusted_p is None


def test_arms_without_a_verdict_count_among_those_adjusted_for() -> None:
    clear = evidence(-0.5, -0.52, -0.47)
    alone = compare({"a": clear}, mode="min")["a"]
    stopped = evidence(num_planned=3, missing="3 of 3 pairs missing: 3 stopped")
    beside = compare({"a": clear, "b": stopped, "c": stopped}, mode="min")["a"]
    assert alone.adjusted_p is not None
    assert beside.adjusted_p == pytest.approx(3 * alone.adjusted_p)


def test_an_arm_whose_control_is_not_there_is_not_judged() -> None:
    lost = Evidence(control=None, differences={}, num_planned=3, missing="3 of 3")
    found = verdict_on(lost)
    assert (found.verdict, found.reason) == ("inconclusive", "its control is not in the sweep")


def test_a_sweep_without_arms_to_compare_has_no_verdicts() -> None:
    assert compare({}, mode="min") == {}


def test_an_unfinished_arm_does_not_make_it_easier_for_the_others() -> None:
    clear = evidence(-0.5, -0.52, -0.47)
    alone = compare({"a": clear}, mode="min")["a"]
    half = evidence(-0.5, -0.50001, -0.49999, num_planned=4, missing="1 of 4 pairs missing")
    beside = compare({"a": clear, "b": half}, mode="min")["a"]
    assert alone.adjusted_p is not None
    assert beside.adjusted_p == pytest.approx(2 * alone.adjusted_p)


def many(*, num_arms: int = 40, num_seeds: int = 3) -> dict[str, Evidence]:
    """Return arms of which the first is 8 standard deviations better than its control."""
    differences = np.random.default_rng(13).normal(size=(num_arms, num_seeds))
    differences[0] -= 8.0
    return {str(arm): evidence(*row) for arm, row in enumerate(differences.tolist())}


def test_among_many_arms_three_seeds_find_what_students_t_does_not() -> None:
    arms = many()
    found = compare(arms, mode="min")
    assert {comparison.test for comparison in found.values()} == {"moderated t"}
    assert found["0"].verdict == "better"
    assert all(found[str(arm)].verdict == "inconclusive" for arm in range(1, 40))
    alone = verdict_on(arms["0"])
    assert alone.test == "t"
    assert alone.p is not None
    assert 40 * alone.p > 0.05


def test_among_many_arms_those_without_a_verdict_count_too() -> None:
    arms = many()
    stopped = {f"stopped {i}": evidence(num_planned=3, missing="3 of 3") for i in range(40)}
    flat = {"flat": evidence(0.5, 0.5, 0.5)}
    alone, beside = (compare(some, mode="min") for some in (arms, arms | stopped | flat))
    for name in arms:
        before, after = alone[name].adjusted_p, beside[name].adjusted_p
        assert before is not None
        assert after is not None
        assert after >= before
    assert beside["flat"].adjusted_p is beside["stopped 1"].adjusted_p is None


def test_as_long_as_few_of_many_arms_are_ready_the_test_stays_the_same() -> None:
    waiting = {str(i): evidence(num_planned=3, missing="3 of 3") for i in range(1, 40)}
    assert compare(waiting, mode="min")["1"].adjusted_p is None
    one = compare({"0": evidence(-0.5, -0.51, -0.49), **waiting}, mode="min")["0"]
    assert one.test == "moderated t"
    assert one.adjusted_p is not None
    assert one.adjusted_p < 1


def test_arms_of_different_seeds_are_compared_one_by_one() -> None:
    arms = many() | {"other": evidence(-0.5, -0.51, -0.49, -0.52)}
    assert compare(arms, mode="min")["other"].test == "t"
