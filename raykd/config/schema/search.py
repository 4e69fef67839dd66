"""What a sweep searches over, and which of its trials stop early."""

import math
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class DimensionConfig:
    """The values of one searched key: exactly one of the fields is given."""

    grid: list[Any] | None = None
    """Try every one of these values."""

    choice: list[Any] | None = None
    """Draw one of these values for each sample."""

    uniform: tuple[float, float] | None = None
    """Draw between low and high for each sample."""

    log_uniform: tuple[float, float] | None = None
    """Draw between low and high for each sample, evenly on a logarithmic scale."""

    @property
    def is_drawn(self) -> bool:
        """Whether values are drawn, not all tried."""
        return self.grid is None

    def problems(self, key: str) -> list[str]:
        """Return every reason this section cannot be searched, each naming its key."""
        given = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        if len(given) != 1:
            return [
                f"{key} needs exactly one of grid, choice, uniform and log_uniform, "
                f"got {', '.join(given) or 'none'}"
            ]
        values = getattr(self, given[0])
        if given[0] in ("grid", "choice"):
            return [] if values else [f"{key}.{given[0]} is empty: give at least one value"]
        # One chain of comparisons, which NaN fails too.
        if len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf:  # noqa: PLR2004
            return [f"{key}.{given[0]} must be [low, high] with low < high, got {list(values)}"]
        if self.log_uniform is not None and values[0] <= 0:
            return [f"{key}.log_uniform must begin above 0, got {list(values)}"]
        return []


@dataclass(frozen=True, kw_only=True, slots=True)
class AshaConfig:
    """Successive halving without waiting (ASHA, Li et al., 2020): weak trials stop early.

    At each rung a trial stops where its metric is worse than the best 1/reduction_factor of the
    trials before it in the plan. The plan's order decides, not the order of arrival: a sweep that
    is interrupted stops the same trials. Controls are no part of it: they never stop.
    """

    first_rung: float = 0.25
    """Share of the longest trial's tokens at which trials are first compared."""

    reduction_factor: float = 3.0
    """One of so many trials goes on at each rung; the next rung is so many times later."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot be used, each naming its key."""
        problems = []
        if not 0 < self.first_rung < 1:
            problems.append(f"scheduler.asha.first_rung must be in (0, 1), got {self.first_rung}")
        if self.reduction_factor <= 1:
            problems.append(
                f"scheduler.asha.reduction_factor must be > 1, got {self.reduction_factor}"
            )
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerConfig:
    """Which trials stop before their end; null lets all of them end."""

    asha: AshaConfig = field(default_factory=AshaConfig)
