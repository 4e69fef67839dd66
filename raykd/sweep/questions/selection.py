"""Which arms the coordinates of a question name, and what share each of them has.

A place is a point of the grid with the arm that is trained for it: several points may be one arm,
as weight 0 of every teacher is one control. Arms are chosen by the coordinates of points, so that
a question need not know which of them are one run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raykd.errors import ConfigError
from raykd.sweep.grid.coordinates import (
    exact_text,
    keys_named,
    short_keys,
    value_text,
    value_texts,
)
from raykd.sweep.record import Record

_CONTROL = "control"
"""Beside coordinates, it names the controls of the arms there."""

_Point = tuple[tuple[str, str], ...]
"""Coordinates in the order of their names, each with its value written exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """Arms that a question names together."""

    where: str
    """The key that names them."""

    named: frozenset[str]
    """Coordinates by which they are named, in full."""

    arms: dict[_Point, str]

    @property
    def coordinates(self) -> set[str]:
        """Coordinates that one of the points has."""
        return {key for point in self.arms for key, _ in point}


class Places:
    """The points of a study's grid with their arms."""

    def __init__(self, records: Iterable[Record]) -> None:
        """Find the places of trials; runs of other kinds are left out."""
        trials = {record.id: record for record in records if record.kind == "trial"}
        self._arms: dict[_Point, str] = {}
        self._at: dict[tuple[str, str], dict[_Point, str]] = {}
        self._controls: dict[str, str] = {}
        values: dict[str, dict[str, Any]] = {}
        seen = set[str]()
        for trial in trials.values():
            if (control := trials.get(trial.control or "")) is not None:
                self._controls[trial.arm] = control.arm
            if trial.arm in seen:
                continue
            seen.add(trial.arm)
            for given in trial.grid_points:
                point = tuple(sorted((key, _exact(value)) for key, value in given.items()))
                self._arms[point] = trial.arm
                for key, value in given.items():
                    values.setdefault(key, {})[_exact(value)] = value
                    self._at.setdefault((key, _exact(value)), {})[point] = trial.arm
        self._values = values
        self._names = short_keys(values)
        self._texts = {key: _texts(of_key) for key, of_key in values.items()}

    def side(self, where: str, wanted: Mapping[str, Any]) -> Side:
        """Return the arms at some coordinates.

        Args:
            where: The key that names them, for errors.
            wanted: Coordinates with their values, or lists of these; control.

        Raises:
            ConfigError: There is no such coordinate, value or arm.
        """
        values: dict[str, list[str]] = {}
        for name, value in wanted.items():
            if name != _CONTROL:
                key = self._key(where, name)
                _require(key not in values, f"{where} names {key} twice")
                values[key] = self._matching(where, key, value)
            else:
                _require(value is True, f"{where}.control must be true or absent, got {value!r}")
        # The fewest first: a study has hundreds of arms, and a trend many sides.
        fewest, *others = sorted((self._places(k, v) for k, v in values.items()), key=len) or [
            self._arms
        ]
        arms = {
            point: arm
            for point, arm in fewest.items()
            if all(point in places for places in others)
        }
        at = ", ".join(f"{name}={value_text(value)}" for name, value in wanted.items())
        _require(bool(arms), f"{where}: no arm is at {at}: raykd check lists the coordinates")
        if _CONTROL in wanted:
            _require(
                self._controls.keys() >= {*arms.values()},
                f"{where}: an arm there has no control; set controls to true",
            )
            arms = {point: self._controls[arm] for point, arm in arms.items()}
        return Side(where=where, named=frozenset(values), arms=arms)

    def shares(self, sides: Sequence[Side]) -> list[dict[str, float]]:
        """Return for each side its arms with their shares, which sum to 1.

        Coordinates that no side names are averaged over, each combination of their values alike;
        all sides must have the same ones, else they would differ in more than what is named. A
        coordinate that another side names, or that another side's points lack, must tell no arms
        of this one apart: it would be averaged over on this side alone.

        Raises:
            ConfigError: They have not, or it does; the message says what to name.
        """
        named = frozenset[str]().union(*(side.named for side in sides))
        averaged = set.intersection(*(side.coordinates for side in sides)) - named
        self._require_alike(sides, averaged)
        return [_shares(self._groups(side, sides, averaged)) for side in sides]

    def _places(self, key: str, values: Sequence[str]) -> Mapping[_Point, str]:
        """Return the arms where a coordinate has one of these values."""
        if len(values) == 1:
            return self._at[key, values[0]]
        return {point: arm for value in values for point, arm in self._at[key, value].items()}

    def _key(self, where: str, name: str) -> str:
        """Return the coordinate of that name."""
        keys = keys_named(name, self._values)
        known = ", ".join(sorted(self._names.values())) or "none"
        _require(bool(keys), f"{where}: {name} is no coordinate: they are {known}")
        _require(len(keys) == 1, f"{where}: {name} may be {' or '.join(keys)}: write more of it")
        return keys[0]

    def _matching(self, where: str, key: str, wanted: Any) -> list[str]:
        """Return the values of a coordinate that are asked for, written exactly."""
        known, texts = self._values[key], self._texts[key]
        if _exact(wanted) in known:
            return [_exact(wanted)]
        if isinstance(wanted, list) and wanted:
            return [exact for value in wanted for exact in self._matching(where, key, value)]
        named = f"{self._names[key]}={value_text(wanted)}"
        alike = [
            exact for exact, value in known.items() if value_text(value) == value_text(wanted)
        ]
        _require(
            bool(alike),
            f"{where}: no arm has {named}: {self._names[key]} is {', '.join(texts.values())}",
        )
        _require(
            len(alike) == 1,
            f"{where}: {named} may be {' or '.join(alike)}: write the whole value",
        )
        return alike

    def _groups(
        self, side: Side, sides: Sequence[Side], averaged: set[str]
    ) -> dict[_Point, dict[_Point, str]]:
        """Return, by what is averaged over and what the side names, its one arm there."""
        groups: dict[_Point, dict[_Point, str]] = {}
        firsts: dict[tuple[_Point, _Point], _Point] = {}
        for point, arm in side.arms.items():
            outer, inner = _part(point, averaged), _part(point, side.named)
            first = firsts.setdefault((outer, inner), point)
            if groups.setdefault(outer, {}).setdefault(inner, arm) != arm:
                raise ConfigError(self._mixture(side, sides, dict(first), dict(point)))
        return groups

    def _mixture(
        self,
        side: Side,
        sides: Sequence[Side],
        one: Mapping[str, str],
        other: Mapping[str, str],
    ) -> str:
        """Return in words why two arms of a side must not be averaged."""
        key = next(key for key in self._values if one.get(key) != other.get(key))
        name = self._names[key]
        naming = [f"{s.where} names {name}" for s in sides if key in s.named]
        lacking = [f"{s.where} has no {name}" for s in sides if key not in s.coordinates]
        texts = " and ".join(self._text(key, point.get(key)) for point in (one, other))
        return f"{side.where} averages over {texts}, but {(naming + lacking)[0]}: name one in it"

    def _require_alike(self, sides: Sequence[Side], averaged: set[str]) -> None:
        """Refuse sides that have not the same combinations of what is averaged over."""
        # Each coordinate before their combinations: it is the shorter answer.
        for keys in [*({key} for key in self._values if key in averaged), averaged]:
            parts = [{_part(point, keys) for point in side.arms} for side in sides]
            for side, own in zip(sides, parts, strict=True):
                if own == parts[0]:
                    continue
                has, lacks = (side, sides[0]) if own - parts[0] else (sides[0], side)
                point = dict(min(own - parts[0] or parts[0] - own))
                texts = ", ".join(self._text(k, point.get(k)) for k in self._values if k in keys)
                message = (
                    f"{has.where} has {texts}, and {lacks.where} has not: name in both what they "
                    "are to have in common"
                )
                raise ConfigError(message)

    def _text(self, key: str, exact: str | None) -> str:
        name = self._names[key]
        return f"no {name}" if exact is None else f"{name}={self._texts[key][exact]}"


def _require(is_so: bool, message: str) -> None:  # noqa: FBT001
    if not is_so:
        raise ConfigError(message)


def _shares(groups: Mapping[_Point, Mapping[_Point, str]]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for arms in groups.values():
        for arm in arms.values():
            shares[arm] = shares.get(arm, 0.0) + 1 / (len(groups) * len(arms))
    return shares


def _part(point: _Point, keys: Iterable[str]) -> _Point:
    return tuple(pair for pair in point if pair[0] in keys)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return short texts of values, different ones as different texts."""
    short = value_texts(values.values())
    return {exact: short[exact_text(value)] for exact, value in values.items()}


def _exact(value: object) -> str:
    """Return a value written exactly; 1 and 1.0 are one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return exact_text(float(value) if is_number else value)  # type: ignore[arg-type]
