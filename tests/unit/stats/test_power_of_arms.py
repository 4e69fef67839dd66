"""What the comparison of many arms finds is simulated, and that of few arms known exactly."""

import numpy as np
import pytest
from raykd.stats.power import detectable
from raykd.stats.power_of_arms import detectable_among
from raykd.stats.rotations import MANY, adjusted_by_rotations


def test_few_arms_find_what_a_t_test_at_the_first_step_of_holm_does() -> None:
    assert detectable_among(4, 5) == detectable(5, expect="different", alpha=0.05 / 4)


def test_one_seed_finds_nothing_among_any_number_of_arms() -> None:
    assert detectable_among(1, 1) is None
    assert detectable_among(40, 1) is None


def test_many_arms_find_in_four_of_five_other_studies_what_is_said() -> None:
    num_arms, num_seeds, num_studies = 2 * MANY, 4, 200
    difference = detectable_among(num_arms, num_seeds)
    assert difference is not None
    plain = detectable(num_seeds, expect="different", alpha=0.05 / num_arms)
    assert plain is not None
    assert difference < plain
    random = np.random.default_rng(3)
    found = 0
    for _ in range(num_studies):
        study_AS = random.normal(size=(num_arms, num_seeds))
        study_AS[0] += difference
        found += adjusted_by_rotations(study_AS, num_arms=num_arms)[0] < 0.05
    # 40 studies say what four of five are to within 0.06, twice that is allowed, and their noise.
    assert found / num_studies == pytest.approx(0.8, abs=0.2)
