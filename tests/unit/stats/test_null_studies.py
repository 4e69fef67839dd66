"""Each rule calls something by accident in at most 5 % of studies, however their noise is.

Studies are simulated. What they may show is most_alarms: 5 % and the noise of so many studies. A
wrong rule fails the same check, so that it can fail.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from raykd.config.schema.questions import EXPECTED
from raykd.stats import expectations
from raykd.stats.holm import holm
from raykd.stats.means import interval
from raykd.stats.rotations import adjusted_by_rotations
from raykd.stats.sequential import looks, sequential_p
from scipy import stats

from tests.null_studies import NOISES, Array, differences, most_alarms

NUM_STUDIES = 500
ROTATIONS = 250
Rule = Callable[[Array], Sequence[float]]
"""The adjusted p values of the arms of a study, from their differences [A, S]."""


def by_holm(study: Array) -> list[float]:
    estimates = [interval(row) for row in study.tolist()]
    return holm([1.0 if estimate is None else estimate.p for estimate in estimates])


def by_rotations(study: Array) -> list[float]:
    return adjusted_by_rotations(study, num_arms=len(study), num_rotations=ROTATIONS)


def pooled(study: Array) -> list[float]:
    """Adjust as Holm does, but take all variances for one."""
    error = np.sqrt(study.var(axis=1, ddof=1).mean() / study.shape[1])
    return holm((2 * stats.norm.sf(np.abs(study.mean(axis=1)) / error)).tolist())


def alarms(rule: Rule, num_studies: int, study: Callable[[np.random.Generator], Array]) -> int:
    """Count the studies with any arm that is called better or worse."""
    generator = np.random.default_rng(31)
    return sum(min(rule(study(generator))) < 0.05 for _ in range(num_studies))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("num_controls", [None, 2])
@pytest.mark.parametrize(("rule", "shape"), [(by_holm, (6, 3)), (by_rotations, (20, 3))])
def test_where_no_arm_differs_few_studies_name_one(
    rule: Rule, shape: tuple[int, int], noise: str, num_controls: int | None
) -> None:
    found = alarms(
        rule,
        NUM_STUDIES,
        lambda g: differences(g, shape, noise=noise, num_controls=num_controls),
    )
    assert found <= most_alarms(NUM_STUDIES)


@pytest.mark.parametrize("shape", [(8, 2), (40, 5), (12, 8)])
def test_rotations_hold_for_few_and_many_arms_and_seeds(shape: tuple[int, int]) -> None:
    for noise in ("equal", "one extreme"):
        study = functools.partial(differences, shape=shape, noise=noise)
        found = alarms(by_rotations, NUM_STUDIES, study)
        assert found <= most_alarms(NUM_STUDIES)


@pytest.mark.parametrize("noise", NOISES)
def test_arms_that_differ_do_not_make_the_others_stand_out(noise: str) -> None:
    generator = np.random.default_rng(32)
    found = 0
    for _ in range(NUM_STUDIES):
        study = differences(generator, (20, 3), noise=noise, num_controls=2)
        study[10:] += generator.choice([4.0, 8.0, 30.0])
        found += min(by_rotations(study)[:10]) < 0.05
    assert found <= most_alarms(NUM_STUDIES)


def test_arms_that_were_stopped_for_what_they_showed_count_as_well() -> None:
    def survivors(study: Array) -> list[float]:
        # The best eight go on: what is left looks better than its controls.
        left = study[np.argsort(study.mean(axis=1))[-8:]]
        return adjusted_by_rotations(left, num_arms=len(study), num_rotations=1000)

    found = alarms(survivors, NUM_STUDIES, lambda g: differences(g, (24, 5)))
    assert found <= most_alarms(NUM_STUDIES)


def test_wrong_rules_fail_the_check() -> None:
    def without_holm(study: Array) -> list[float]:
        return [float(p) for p in stats.ttest_1samp(study, 0.0, axis=1).pvalue]

    for rule, noise in ((pooled, "two groups"), (without_holm, "equal")):
        study = functools.partial(differences, shape=(24, 5), noise=noise)
        found = alarms(rule, 200, study)
        assert found > most_alarms(200)


@pytest.mark.parametrize(
    ("expect", "margin", "truth", "is_yes"),
    [
        ("better", None, 0.0, None),
        ("worse", None, 0.0, None),
        ("different", None, 0.0, None),
        # At the end of the margin one of yes and no is wrong, by where that end is counted to.
        ("alike", 1.0, 1.0, True),
        ("alike", 1.0, -1.0, False),
        ("alike", 0.01, 0.01, False),
        ("no worse", 1.0, -1.0, True),
        ("no worse", 1.0, -1.0, False),
    ],
)
@pytest.mark.parametrize("num_seeds", [3, 8])
def test_a_claim_is_called_right_or_wrong_by_accident_in_few_cases(
    expect: EXPECTED, margin: float | None, truth: float, is_yes: bool | None, num_seeds: int
) -> None:
    generator = np.random.default_rng(33)
    num_cases, wrong = 2000, 0
    for values in generator.normal(truth, 1.0, (num_cases, num_seeds)).tolist():
        found = expectations.tested(values, expect=expect, margin=margin, sign=1)
        assert found is not None
        p = {True: found.p_yes, False: found.p_no, None: min(found.p_yes, found.p_no)}
        wrong += p[is_yes] < 0.05
    assert wrong <= most_alarms(num_cases)


LOOKS = looks(3, 12)


def any_decided(study: Array, *, has_shares: bool) -> bool:
    """Return whether any question of a study that looks at 3, 6 and 12 seeds is decided.

    A question that is decided gets no more seeds, and counts among the others as it is.
    """
    seen: list[list[float]] = [[] for _ in study]
    adjusted = [1.0] * len(study)
    for num_seeds in LOOKS:
        for index, values in enumerate(study[:, :num_seeds].tolist()):
            if adjusted[index] >= 0.05:
                found = expectations.tested(values, expect="better", margin=None, sign=1)
                assert found is not None
                seen[index].append(min(found.p_yes, found.p_no))
        adjusted = holm([sequential_p(p, LOOKS) if has_shares else min(p) for p in seen])
    return min(adjusted) < 0.05


@pytest.mark.parametrize("num_questions", [1, 6])
def test_looking_three_times_errs_no_more_often_than_once(num_questions: int) -> None:
    generator = np.random.default_rng(34)
    shape = (num_questions, LOOKS[-1])
    studies = [differences(generator, shape, num_controls=2) for _ in range(NUM_STUDIES)]
    found = sum(any_decided(study, has_shares=True) for study in studies)
    assert found <= most_alarms(NUM_STUDIES)
    # Without shares of the error rate the same check fails.
    assert sum(any_decided(s, has_shares=False) for s in studies) > most_alarms(NUM_STUDIES)


def test_a_question_that_is_decided_early_does_not_cost_the_others_their_error_rate() -> None:
    generator = np.random.default_rng(35)
    wrong = 0
    for _ in range(NUM_STUDIES):
        study = differences(generator, (4, LOOKS[-1]), num_controls=1)
        study[2:] += 20.0
        wrong += any_decided(study[:2], has_shares=True)
    assert wrong <= most_alarms(NUM_STUDIES)
