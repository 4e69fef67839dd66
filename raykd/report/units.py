"""Numbers for people: short, aligned, with their unit; a dash for what is not known."""

_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LONGEST_IN_SECONDS = 90
_LONGEST_IN_MINUTES = 90 * 60
_FIXED_FROM, _FIXED_TO = 1e-3, 1e5

UNKNOWN = "-"


def number(value: float | None, *, sign: str = "") -> str:
    """Return the value of a metric; the sign "+" is shown for a difference."""
    if value is None:
        return UNKNOWN
    # Four decimals line up in a column; outside of this range they would be 0.0000 or too wide.
    is_fixed = value == 0 or _FIXED_FROM <= abs(value) < _FIXED_TO
    return f"{value:{sign}.4f}" if is_fixed else f"{value:{sign}.3e}"


def amount(value: float | None) -> str:
    """Return a number of tokens or FLOPs, such as 12.3 M."""
    if value is None:
        return UNKNOWN
    if value >= 1e18:  # noqa: PLR2004  prefixes beyond peta help nobody
        return f"{value:.2e}"
    unit, name = next(((u, n) for u, n in _UNITS if value >= u), (1.0, ""))
    return f"{value / unit:.3g} {name}" if name else f"{value:.0f}"


def share(value: float | None) -> str:
    """Return a fraction in percent."""
    return UNKNOWN if value is None else f"{value:.1%}"


def hours(seconds: float) -> str:
    """Return core-hours or GPU-hours from core-seconds or GPU-seconds; a dash for none."""
    if not seconds:
        return UNKNOWN
    value = seconds / 3_600
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  three digits


def duration(seconds: float) -> str:
    """Return a time span in the unit that suits it."""
    if seconds < _LONGEST_IN_SECONDS:
        return f"{seconds:.0f} s"
    if seconds < _LONGEST_IN_MINUTES:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.1f} h"
