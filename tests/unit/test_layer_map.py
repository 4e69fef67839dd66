"""Which source layer each student layer follows."""

import pytest
from raykd.layer_map import Growth, Pattern, growth_map, layer_map, validate


@pytest.mark.parametrize(
    ("pattern", "student", "source", "expected"),
    [
        ("even", 6, 12, (1, 3, 5, 7, 9, 11)),  # 2i counted from 1, The Privileged Students
        ("even", 4, 12, (2, 5, 8, 11)),
        ("even", 2, 3, (1, 2)),
        ("even", 1, 4, (3,)),
        ("first", 3, 12, (0, 1, 2)),
        ("last", 3, 12, (9, 10, 11)),
        ("spread", 6, 12, (0, 2, 4, 7, 9, 11)),
        ("spread", 2, 12, (0, 11)),
        ("spread", 1, 12, (0,)),
    ],
)
def test_patterns(pattern: Pattern, student: int, source: int, expected: tuple[int, ...]) -> None:
    assert layer_map(pattern, num_student_layers=student, num_source_layers=source) == expected


@pytest.mark.parametrize("pattern", ["even", "first", "last", "spread"])
def test_layers_rise_and_equal_depths_map_one_to_one(pattern: Pattern) -> None:
    for source in range(1, 14):
        for student in range(1, source + 1):
            layers = layer_map(pattern, num_student_layers=student, num_source_layers=source)
            assert len(set(layers)) == student
            assert sorted(layers) == list(layers)
            assert 0 <= layers[0] <= layers[-1] < source
        whole = layer_map(pattern, num_student_layers=source, num_source_layers=source)
        assert whole == tuple(range(source))


def test_a_deeper_student_is_refused() -> None:
    with pytest.raises(ValueError, match="a student of 5 layers cannot follow a source of 4"):
        layer_map("even", num_student_layers=5, num_source_layers=4)


def test_listed_layers_are_checked() -> None:
    validate([3, 0], num_student_layers=2, num_source_layers=4)
    with pytest.raises(ValueError, match="one source layer for each of the student's 2 layers"):
        validate([1], num_student_layers=2, num_source_layers=4)
    with pytest.raises(ValueError, match=r"names \[4\], but the source has layers 0 to 3"):
        validate([0, 4], num_student_layers=2, num_source_layers=4)


@pytest.mark.parametrize(
    ("depth", "student", "source", "expected"),
    [
        ("repeat_last", 6, 4, (0, 1, 2, 3, 3, 3)),  # the DWT paper's
        ("stack", 6, 3, (0, 1, 2, 0, 1, 2)),
        ("stack", 5, 3, (0, 1, 2, 0, 1)),
        ("interleave", 6, 3, (0, 0, 1, 1, 2, 2)),
        ("interleave", 5, 3, (0, 0, 1, 1, 2)),
        ("interleave", 4, 1, (0, 0, 0, 0)),
    ],
)
def test_growth(depth: Growth, student: int, source: int, expected: tuple[int, ...]) -> None:
    assert growth_map(depth, num_student_layers=student, num_source_layers=source) == expected


@pytest.mark.parametrize("depth", ["repeat_last", "stack", "interleave"])
def test_growth_follows_every_source_layer_and_equal_depths_map_one_to_one(depth: Growth) -> None:
    for source in range(1, 8):
        for student in range(source, 15):
            layers = growth_map(depth, num_student_layers=student, num_source_layers=source)
            assert len(layers) == student
            assert set(layers) == set(range(source))
        whole = growth_map(depth, num_student_layers=source, num_source_layers=source)
        assert whole == tuple(range(source))


@pytest.mark.parametrize(("student", "source"), [(3, 4), (2, 0)])
def test_a_shallower_student_does_not_grow(student: int, source: int) -> None:
    with pytest.raises(
        ValueError, match=f"{student} layers cannot grow from a source of {source}"
    ):
        growth_map("stack", num_student_layers=student, num_source_layers=source)
