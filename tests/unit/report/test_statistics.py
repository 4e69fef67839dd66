"""Verdicts are those of a textbook: rarely wrong where nothing differs, else found."""

import math

import numpy as np
import pytest
from raykd.report.statistics import Comparison, Evidence, compare, holm, interval
from scipy import stats


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


def test_the_interval_is_that_of_a_hand_computed_example() -> None:
    # Mean -0.2, standard deviation 0.1, error 0.1 / sqrt(4) = 0.05; t(3, 0.975) = 3.18245.
    differences = [-0.2 - 0.1 * math.sqrt(1.5), -0.2, -0.2, -0.2 + 0.1 * math.sqrt(1.5)]
    found = interval(differences)
    assert found is not None
    assert found.low == pytest.approx(-0.2 - 3.182446 * 0.05, abs=1e-6)
    assert found.high == pytest.approx(-0.2 + 3.182446 * 0.05, abs=1e-6)
    assert found.p == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, rel=1e-9)


def test_holm_multiplies_the_smallest_by_the_number_of_tests_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_where_no_arm_differs_at_most_one_study_in_twenty_names_one() -> None:
    generator = np.random.default_rng(11)
    num_studies, num_arms, num_seeds = 2_000, 8, 5
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


def test_a_clear_effect_among_seven_arms_without_one_is_found() -> None:
    generator = np.random.default_rng(12)
    num_studies = 300
    found = 0
    for _ in range(num_studies):
        controls = generator.normal(size=5)
        shifts = np.array([-6.0, 0, 0, 0, 0, 0, 0, 0])[:, None]
        arms = controls + shifts + generator.normal(scale=1.0, size=(8, 5)) - controls
        comparisons = compare({str(i): evidence(*arms[i].tolist()) for i in range(8)}, mode="min")
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
