"""The points of a sweep: which values each coordinate takes together. Pure arithmetic."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from raykd.config.schema.search import DimensionConfig
from raykd.config.schema.sweep import SweepConfig

Draws = Mapping[str, Any]
"""Searched key to the value that was drawn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One combination of coordinates, before seeds and controls."""

    coordinates: dict[str, Any]
    """Coordinate to value: teacher, quality, searched keys, names of pairs."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Key of the base run to the value that it takes."""

    teacher: str | None = None
    quality: float | None = None
    """Fraction of the teacher's steps; None for a teacher that is a model."""

    def is_at(self, coordinates: Mapping[str, Any]) -> bool:
        """Tell whether the point has these values, each one or any of a list."""
        # Not None: null is a value of a coordinate, such as student.init: null.
        missing = object()
        return all(
            _is_one(self.coordinates.get(name, missing), of) for name, of in coordinates.items()
        )


def points_of(sweep: SweepConfig, draws: Draws) -> list[Point]:
    """Return the points of one sample: the grid with the values drawn, without excluded ones."""
    axes = [_teacher_axis(sweep), *_pair_axes(sweep), *_grid_axes(sweep)]
    drawn = Point(coordinates=dict(draws), changes=dict(draws))
    every = (_joined(drawn, combination) for combination in itertools.product(*axes))
    return [p for p in every if not any(map(p.is_at, _excluded(sweep, controls=False)))]


def has_control(sweep: SweepConfig, point: Point) -> bool:
    """Tell whether the trials of a point have controls of their own."""
    return sweep.controls and not any(map(point.is_at, _excluded(sweep, controls=True)))


def random_draws(sweep: SweepConfig, sample: int) -> dict[str, Any]:
    """Return the values of a sample: a function of the sweep's seed, the key and the sample.

    All points of the grid, and all seeds, share them: differences between arms are not those
    of the draw.
    """
    return {
        # Python seeds from a text by its SHA-512, not by hash(), which differs between processes.
        # The key is part of it: a searched key that is added moves the draws of no other.
        key: _drawn(dimension, random.Random(f"{sweep.seed}/{key}/{sample}"))  # noqa: S311
        for key, dimension in drawn_dimensions(sweep).items()
    }


def drawn_dimensions(sweep: SweepConfig) -> dict[str, DimensionConfig]:
    """Return the searched keys whose values are drawn."""
    return {key: dimension for key, dimension in sweep.search.items() if dimension.is_drawn}


def _drawn(dimension: DimensionConfig, generator: random.Random) -> Any:
    if dimension.choice is not None:
        return generator.choice(dimension.choice)
    if dimension.uniform is not None:
        return generator.uniform(*dimension.uniform)
    low, high = dimension.log_uniform or (1.0, 1.0)
    return math.exp(generator.uniform(math.log(low), math.log(high)))


def _teacher_axis(sweep: SweepConfig) -> list[Point]:
    if not sweep.teachers or sweep.teachers_are == "together":
        return [Point(coordinates={})]
    return [
        Point(
            coordinates={"teacher": name} | ({} if quality is None else {"quality": quality}),
            teacher=name,
            quality=quality,
        )
        for name, teacher in sweep.teachers.items()
        for quality in ((None,) if teacher.run is None else teacher.milestones)
    ]


def _pair_axes(sweep: SweepConfig) -> Iterator[list[Point]]:
    for name, values in sweep.pairs.items():
        yield [
            Point(coordinates={name: label}, changes=dict(changes))
            for label, changes in values.items()
        ]


def _grid_axes(sweep: SweepConfig) -> Iterator[list[Point]]:
    for key, dimension in sweep.search.items():
        if dimension.grid is not None:
            yield [Point(coordinates={key: v}, changes={key: v}) for v in dimension.grid]


def _joined(drawn: Point, parts: tuple[Point, ...]) -> Point:
    every = (*parts, drawn)
    teacher = parts[0]
    return Point(
        coordinates={k: v for part in every for k, v in part.coordinates.items()},
        changes={k: v for part in every for k, v in part.changes.items()},
        teacher=teacher.teacher,
        quality=teacher.quality,
    )


def _excluded(sweep: SweepConfig, *, controls: bool) -> list[dict[str, Any]]:
    """Return the coordinates of the trials that are left out, or whose controls are."""
    return [
        {name: of for name, of in excluded.items() if name != "control"}
        for excluded in sweep.exclude
        if ("control" in excluded) == controls
    ]


def _is_one(value: object, of: object) -> bool:
    # A value may be a list itself, such as student.freeze.
    return value == of or (isinstance(of, list) and value in of)
