"""How the start of a student is told: in a few lines, or every tensor in a table."""

from raykd.distill.start import StudentStart

_MOST_NAMED = 4
"""Tensors left at random that are named without being asked for."""


def start_lines(start: StudentStart) -> list[str]:
    """Return in a few lines how a student starts; tensors left at random are named."""
    layers = ", ".join(f"{layer} <- {source}" for layer, source in enumerate(start.layers))
    lines = [f"{start.method} from {start.source}; layers {layers}"]
    at_random = [(name, o.how) for name, o in start.provenance.items() if o.source is None]
    lines.append(
        f"{len(start.provenance) - len(at_random)} of {len(start.provenance)} tensors from the "
        "source" + ("; --init lists them" if at_random else "")
    )
    lines += [f"{name}: {how}" for name, how in at_random[:_MOST_NAMED]]
    if (more := len(at_random) - _MOST_NAMED) > 0:
        lines.append(f"and {more} more")
    return lines


def provenance_lines(start: StudentStart) -> list[str]:
    """Return every tensor of a student with the source tensor it comes from, and how."""
    rows = [("tensor of the student", "from", "how")]
    rows += [(name, o.source or "-", o.how) for name, o in start.provenance.items()]
    # Plain text and not a rich table: names of tensors must not be folded or cropped.
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return [f"{name:<{widths[0]}}  {source:<{widths[1]}}  {how}" for name, source, how in rows]
