"""What the rounds of all ways come to: medians and quartiles of ratios to the base's."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tests.bench.rivals.cases import BASE, Case

Figures = dict[str, Any]
"""What a watch saw in one round."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """Everything that was measured in a case."""

    rounds: dict[str, list[Figures]]
    refused: dict[str, str]
    """Way to why it is not there."""

    floors: list[Figures]
    """What every step has to do, as measured in each round."""

    @property
    def base(self) -> list[Figures]:
        """Return the rounds of the base, or of the first way where the base is not there."""
        return self.rounds.get(BASE) or next(iter(self.rounds.values()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Median and quartiles over the rounds."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        """Return the median, and the quartiles where they differ."""
        if self.low == self.high:
            return f"{self.median:.2f}"
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles of one value or more."""
    if len(values) == 1:
        return Spread(low=values[0], median=values[0], high=values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low=low, median=median, high=high)


def seconds(figures: Figures, clock: str) -> float:
    """Return the seconds per step after the warm-up, by a clock: wall_seconds or cpu_seconds."""
    ends = figures[clock][figures["num_warm_up_steps"] - 1 :]
    return float(ends[-1] - ends[0]) / (len(ends) - 1)


def memory(figures: Figures) -> int:
    """Return the bytes that training took, the models included."""
    return int(figures["bytes_peak"] - figures["bytes_before"])


def times_as_fast(taken: Taken, way: str, clock: str) -> Spread:
    """Return the base's seconds over those of a way in the same round."""
    pairs = zip(taken.base, taken.rounds[way], strict=False)
    return spread([seconds(base, clock) / seconds(mine, clock) for base, mine in pairs])


def floor_seconds(case: Case, floor: Figures, way: str) -> float:
    """Return the CPU seconds that no exact step of a way's kind avoids, as a round measured them.

    Where the teacher's hidden states are kept its head is left; where its logits are, nothing is.
    """
    parts = floor["bfloat16" if way.endswith("bf16") else "float32"]["seconds"]
    skipped = {"teacher's layers"} if "cached" in way else set()
    if skipped and case.num_classes is not None:
        skipped.add("teacher's head")
    return float(sum(value for name, value in parts.items() if name not in skipped))


def share_of_floor(case: Case, taken: Taken, way: str) -> Spread:
    """Return the floor over the CPU seconds of a way in the same round."""
    pairs = zip(taken.floors, taken.rounds[way], strict=False)
    return spread(
        [floor_seconds(case, floor, way) / seconds(mine, "cpu_seconds") for floor, mine in pairs]
    )


def _floor_lines(taken: Taken) -> Iterator[str]:
    for precision in taken.floors[0]:
        measured = [floor[precision] for floor in taken.floors]
        middle = {
            name: statistics.median(floor["seconds"][name] for floor in measured)
            for name in measured[0]["seconds"]
        }
        done = measured[0]["flops"] | {"memory": measured[0]["bytes"]}
        yield f"floor in {precision}: " + ", ".join(
            f"{name} {value * 1e3:,.0f} ms ({done[name] / value / 1e9:,.0f} G"
            f"{'B' if name == 'memory' else 'FLOP'}/s)"
            for name, value in middle.items()
        )


def memory_share(taken: Taken, way: str) -> float:
    """Return the memory of a way over the base's, of the medians."""
    mine = statistics.median(map(memory, taken.rounds[way]))
    return float(mine / statistics.median(map(memory, taken.base)))


def losses_apart(taken: Taken, way: str) -> float:
    """Return how far losses of the same name and step are apart from the base's, at most."""
    mine, base = taken.rounds[way][0]["losses"], taken.base[0]["losses"]
    apart: float = max(
        abs(first - second)
        for name in mine.keys() & base.keys()
        for first, second in zip(mine[name], base[name], strict=True)
    )
    return apart


def case_table(case: Case, taken: Taken) -> Table:
    """Return a table of all ways of a case."""
    table = Table(title=f"{case.name}: {case.title}; {case.batch_rows} rows a step")
    for heading in ("way", "ms/step", "CPU ms", "x faster", "x by CPU", "required", "of floor"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for heading in ("MiB", "of base", "losses apart"):
        table.add_column(heading, justify="right")
    for way, rounds in taken.rounds.items():
        required = case.least_speed.get(way)
        table.add_row(
            way,
            *(
                f"{statistics.median(seconds(f, clock) for f in rounds) * 1e3:,.0f}"
                for clock in ("wall_seconds", "cpu_seconds")
            ),
            str(times_as_fast(taken, way, "wall_seconds")),
            str(times_as_fast(taken, way, "cpu_seconds")),
            "" if required is None else f">= {required:g}",
            _floor_cell(case, taken, way),
            f"{statistics.median(map(memory, rounds)) / 2**20:,.0f}",
            f"{memory_share(taken, way):.0%}",
            "other order" if "buckets" in way else f"{losses_apart(taken, way):.1e}",
        )
    refused = (f"{way}: {reason}" for way, reason in taken.refused.items())
    table.caption = "\n".join([*_floor_lines(taken), *refused])
    table.caption_justify = "left"
    return table


def _floor_cell(case: Case, taken: Taken, way: str) -> str:
    least = case.least_share_of_floor.get(way)
    required = "" if least is None else f" (>= {least:.0%})"
    return f"{share_of_floor(case, taken, way).median:.0%}{required}"


def summary(case: Case, taken: Taken) -> dict[str, Any]:
    """Return the figures of a case as JSON: what the table says, and every round."""
    return {
        "title": case.title,
        "ways": {
            way: {
                "times_as_fast": times_as_fast(taken, way, "wall_seconds").median,
                "times_as_fast_by_cpu": times_as_fast(taken, way, "cpu_seconds").median,
                "required": case.least_speed.get(way),
                "share_of_floor": share_of_floor(case, taken, way).median,
                "required_share_of_floor": case.least_share_of_floor.get(way),
                "memory_bytes": statistics.median(map(memory, rounds)),
                "memory_share": memory_share(taken, way),
                "losses_apart": losses_apart(taken, way),
                "rounds": rounds,
            }
            for way, rounds in taken.rounds.items()
        },
        "refused": taken.refused,
        "floors": taken.floors,
    }
