"""What costs are called, and as text."""

from raykd.report.efficiency.frontier import CostName
from raykd.report.units import amount

TITLES: dict[CostName, str] = {
    "flops": "FLOPs of training one model, with its teachers' training",
    "latency": "milliseconds for one example",
}


def cost_text(cost: CostName, value: float) -> str:
    """Return a cost with its unit."""
    return milliseconds(value) if cost == "latency" else amount(value)


def milliseconds(value: float) -> str:
    """Return a latency with three digits."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"  # noqa: PLR2004  digits
