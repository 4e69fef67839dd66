"""Points are the grid times what is drawn, and draws follow from seed, key and sample alone."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from raykd.config.load import checked_sweep
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.grid.space import Point, points_of, random_draws

RATE = "optimizer.learning_rate"
WEIGHT = "losses.forward_kl.weight"
INIT = "student.init"
TEACHERS = {
    "small": {"run": "teacher.yaml", "milestones": [0.5, 1]},
    "big": {"model": "org/model"},
}


def sweep_of(**given: Any) -> SweepConfig:
    return checked_sweep({"name": "study", "base": "base.yaml", **given}, origin="sweep")


def coordinates(points: Sequence[Point]) -> list[dict[str, Any]]:
    return [point.coordinates for point in points]


def test_a_sweep_of_nothing_is_its_base() -> None:
    assert points_of(sweep_of(), {}) == [Point(coordinates={})]


def test_every_teacher_meets_every_pair_and_every_value() -> None:
    pairs: dict[str, dict[str, dict[str, Any]]] = {
        "soft": {
            "no": {WEIGHT: 0.5, "losses.forward_kl.temperature": 1},
            "yes": {WEIGHT: 2, "losses.forward_kl.temperature": 4},
        }
    }
    sweep = sweep_of(
        teachers=TEACHERS, pairs=pairs, search={"train.num_steps": {"grid": [5, 6, 7]}}
    )
    points = points_of(sweep, {})
    assert len(points) == 3 * 2 * 3
    assert len({str(point.coordinates) for point in points}) == len(points)
    first = points[0]
    assert first.coordinates == {
        "teacher": "small",
        "quality": 0.5,
        "soft": "no",
        "train.num_steps": 5,
    }
    assert first.changes == pairs["soft"]["no"] | {"train.num_steps": 5}
    assert (first.teacher, first.quality) == ("small", 0.5)
    # A model that is there has no quality.
    assert points[-1].coordinates == {"teacher": "big", "soft": "yes", "train.num_steps": 7}
    assert (points[-1].teacher, points[-1].quality) == ("big", None)


def test_teachers_that_are_together_are_no_coordinate() -> None:
    together = {name: {"model": f"org/{name}"} for name in ("a", "b")}
    points = points_of(sweep_of(teachers=together, teachers_are="together"), {})
    assert points == [Point(coordinates={})]


@pytest.mark.parametrize(
    ("excluded", "num_left"),
    [
        ({"teacher": "small"}, 4),
        ({"teacher": "big"}, 8),
        ({"quality": 0.5}, 8),
        ({"quality": 1}, 8),
        ({"teacher": "small", "quality": 1.0, WEIGHT: "4 -> 1"}, 10),
        ({INIT: None}, 6),
        ({INIT: {"remap": {"depth": "stack"}}}, 6),
        ({INIT: {"remap": {}}}, 12),
        ({"teacher": "nobody"}, 12),
        ({WEIGHT: 1, INIT: None}, 9),
    ],
)
def test_a_point_is_left_out_where_all_that_is_excluded_holds(
    excluded: dict[str, Any], num_left: int
) -> None:
    search = {
        WEIGHT: {"grid": [1, "4 -> 1"]},
        INIT: {"grid": [None, {"remap": {"depth": "stack"}}]},
    }
    sweep = sweep_of(teachers=TEACHERS, search=search, exclude=[excluded])
    points = points_of(sweep, {})
    assert len(points) == num_left
    left_out = coordinates(points_of(replace(sweep, exclude=[]), {}))
    for point in points:
        left_out.remove(point.coordinates)
    assert all(c.items() >= excluded.items() for c in left_out)


def test_a_list_leaves_out_each_of_its_values() -> None:
    frozen = {"student.freeze": {"grid": [[], ["embeddings"]]}, WEIGHT: {"grid": [1, 4]}}
    sweep = sweep_of(teachers=TEACHERS, search=frozen)
    apart = [{"teacher": name, WEIGHT: 1} for name in ("small", "big")]
    together = [{"teacher": ["small", "big"], WEIGHT: 1}]
    left, left_by_lists = (
        points_of(replace(sweep, exclude=exclude), {}) for exclude in (apart, together)
    )
    assert left == left_by_lists
    assert 0 < len(left) < len(points_of(sweep, {}))
    # A value that is a list itself is still that value.
    whole = points_of(replace(sweep, exclude=[{"student.freeze": ["embeddings"]}]), {})
    assert {tuple(point.coordinates["student.freeze"]) for point in whole} == {()}


def test_pairs_are_left_out_by_the_name_of_their_value() -> None:
    pairs = {"size": {"s": {"train.num_steps": 5}, "l": {"train.num_steps": 9}}}
    points = points_of(sweep_of(pairs=pairs, exclude=[{"size": "l"}]), {})
    assert coordinates(points) == [{"size": "s"}]


def test_what_is_drawn_is_the_same_at_all_points_of_the_grid() -> None:
    search = {
        RATE: {"log_uniform": [1e-5, 1e-2]},
        WEIGHT: {"grid": [0, 1, 2]},
        INIT: {"choice": [None, {"remap": {}}]},
    }
    sweep = sweep_of(teachers=TEACHERS, search=search, num_samples=3)
    for sample in range(3):
        draws = random_draws(sweep, sample)
        assert set(draws) == {RATE, INIT}
        points = points_of(sweep, draws)
        assert len(points) == 9
        for point in points:
            assert point.coordinates.items() >= draws.items()
            assert point.changes.items() >= draws.items()


def test_a_draw_follows_from_seed_key_and_sample_alone() -> None:
    rate = {RATE: {"uniform": [0, 1]}}
    alone = sweep_of(search=rate, num_samples=2)
    beside = sweep_of(
        search={"train.num_steps": {"choice": [5, 6]}} | rate, teachers=TEACHERS, num_samples=9
    )
    assert random_draws(alone, 1)[RATE] == random_draws(beside, 1)[RATE]
    assert random_draws(alone, 1) == random_draws(alone, 1)
    others = [
        random_draws(alone, 0)[RATE],
        random_draws(replace(alone, seed=18), 1)[RATE],
        random_draws(sweep_of(search={"optimizer.epsilon": rate[RATE]}), 1)["optimizer.epsilon"],
    ]
    assert random_draws(alone, 1)[RATE] not in others
    assert len(set(others)) == 3


def test_a_draw_is_the_same_on_every_machine() -> None:
    sweep = sweep_of(search={RATE: {"log_uniform": [1e-5, 1e-2]}, WEIGHT: {"uniform": [0, 4]}})
    assert random_draws(sweep, 0) == {
        RATE: pytest.approx(0.008243584266261891, rel=1e-12),
        WEIGHT: pytest.approx(0.1332696458174949, rel=1e-12),
    }


def test_draws_lie_within_their_bounds_and_fill_them() -> None:
    low, high = 1e-5, 1e-1
    sweep = sweep_of(
        search={
            RATE: {"log_uniform": [low, high]},
            WEIGHT: {"uniform": [2, 4]},
            INIT: {"choice": [None, {"remap": {}}, {"expand": {"width": "aki"}}]},
        },
        num_samples=600,
    )
    draws = [random_draws(sweep, sample) for sample in range(600)]
    rates = [draw[RATE] for draw in draws]
    assert all(low <= rate <= high for rate in rates)
    # Evenly on a logarithmic scale: a quarter of them in each power of ten.
    powers = [math.floor(math.log10(rate)) for rate in rates]
    assert all(0.2 < powers.count(power) / 600 < 0.3 for power in (-5, -4, -3, -2))
    weights = [draw[WEIGHT] for draw in draws]
    assert all(2 <= weight <= 4 for weight in weights)
    assert sum(weights) / 600 == pytest.approx(3, abs=0.1)
    chosen = [str(draw[INIT]) for draw in draws]
    assert all(0.27 < chosen.count(name) / 600 < 0.4 for name in set(chosen))
    assert len(set(chosen)) == 3
