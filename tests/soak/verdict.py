"""What must hold of a training that was never left in peace, as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Table

from tests.soak.losses import Loss
from tests.soak.store import Store
from tests.soak.training import final_tensors, step_records
from tests.soak.watch import Growth

_OF_SERVER = ".rclone_temp_multipart_"
"""What rclone names a file that it is receiving; only rclone itself could know that it is dead."""

_GROWTH_SHARE = 0.1
_GROWTH_DESCRIPTORS = 8

_MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the table."""

    what: str
    found: str
    required: str = ""
    holds: bool = True


def as_table(lines: Sequence[Line], *, title: str) -> Table:
    """Return the lines as a table for people."""
    table = Table("", "found", "required", "", title=title)
    for line in lines:
        mark = ("ok" if line.holds else "NO") if line.required else ""
        table.add_row(line.what, line.found, line.required, mark)
    return table


def numbers(soaked: Path, smooth: Path, *, num_steps: int) -> list[Line]:
    """Compare a run with the smooth one, bit by bit, and record by record."""
    ours, theirs = (final_tensors(run, num_steps=num_steps) for run in (soaked, smooth))
    same = [
        ours.keys() == theirs.keys(),
        all(torch.equal(ours[name], theirs[name]) for name in theirs.keys() & ours.keys()),
    ]
    records, expected = step_records(soaked), step_records(smooth)
    # A step that scores no position has no loss.
    steps = [record["step"] for record in records if "train/learning_rate" in record]
    return [
        Line(
            what="final weights and moments, tensors",
            found=f"{len(ours)}, {'equal' if all(same) else 'different'}",
            required="those of the smooth run",
            holds=all(same),
        ),
        Line(
            what="records of steps",
            found=f"{len(steps)}, of {len(set(steps))} steps",
            required=f"{num_steps}, each once",
            holds=steps == list(range(1, num_steps + 1)),
        ),
        Line(
            what="metrics",
            found="equal" if records == expected else "different",
            required="those of the smooth run",
            holds=records == expected,
        ),
    ]


def harm(counts: Counter[str], exits: Sequence[str]) -> list[Line]:
    """Say what was done to the run, and whether it ever gave up by itself."""
    return [
        *(Line(what=name, found=str(counts[name])) for name in counts),
        Line(
            what="trainers that gave up while the store was there",
            found="; ".join(exits) or "none",
            required="none",
            holds=not exits,
        ),
    ]


def costs(losses: Sequence[Loss], *, every_steps: int) -> list[Line]:
    """Say how many steps were taken twice."""
    if not losses:
        return [Line(what="steps lost", found="no trainer died between two noted steps")]
    beyond = [loss for loss in losses if not loss.is_within(every_steps)]
    worst = max(beyond or losses, key=lambda loss: loss.steps)
    return [
        Line(
            what="steps lost by a trainer's death",
            found=f"{sum(loss.steps for loss in losses) / len(losses):.1f} in the mean",
        ),
        Line(
            what="most steps lost",
            found=f"{worst.steps}, {worst.in_flight} of them or of the wait beside writing",
            required=f"<= {every_steps} + 1 + those beside writing, each time",
            holds=not beyond,
        ),
    ]


def remains(store: Store, *, pending: int, temporary: Path) -> list[Line]:
    """Say what is left that nobody reads; after ``raykd clean``."""
    files = sorted(path.name for path in temporary.glob("raykd-*"))
    return [
        Line(what="multipart uploads pending before raykd clean", found=str(pending)),
        Line(
            what="multipart uploads pending after it",
            found=str(store.pending_uploads()),
            required="0",
            holds=store.pending_uploads() == 0,
        ),
        Line(
            what="temporary files of dead trainers after it",
            found=f"{len(files)} {', '.join(files[:2])}",
            required="0",
            holds=not files,
        ),
    ]


def halves(bucket: Path) -> list[Line]:
    """Say what the objects of the store are, after ``raykd clean``, that readers take for half."""
    left = uncommitted(bucket)
    return [
        Line(
            what="uncommitted directories after it",
            found=", ".join(left) or "none",
            required="none",
            holds=not left,
        ),
        Line(
            what="temporary files of the killed server",
            found=str(sum(1 for _ in bucket.rglob(f"*{_OF_SERVER}*"))),
        ),
    ]


def uncommitted(directory: Path) -> list[str]:
    """Return the directories that readers take for half."""
    places = {path.parent for path in directory.rglob("manifest.json")}
    places |= {path for path in directory.rglob("*") if path.name.startswith("step-")}
    places |= {path for path in directory.rglob("model") if path.is_dir()}
    places |= {path.parent for path in directory.rglob(".parts")}
    return sorted(
        str(path.relative_to(directory))
        for path in places
        # A killed server keeps the files that it was receiving.
        if any(_OF_SERVER not in file.name for file in path.rglob("*") if file.is_file())
        and not (path / "COMMITTED").exists()
    )


def traffic(store: Store, *, log: Path) -> list[Line]:
    """Say how much was asked of the store, and how often it failed."""
    requests = list(store.proxy.requests)
    is_full = len(requests) == store.proxy.requests.maxlen
    faults = Counter(
        getattr(request.fault, "code", type(request.fault).__name__)
        for request in requests
        if request.fault is not None
    )
    told = log.read_text(errors="replace").count("trying again")
    kinds = ", ".join(f"{name} {count}" for name, count in faults.most_common())
    return [
        Line(what="requests", found=f"{'the last ' if is_full else ''}{len(requests)}"),
        Line(what="faults injected", found=f"{faults.total()}: {kinds}"),
        Line(what="requests that failed four times and more", found=f"{told}"),
    ]


def resources(found: Growth | None) -> list[Line]:
    """Say whether the trainer that lived longest came to hold more."""
    if found is None:
        return [Line(what="memory and descriptors", found="no trainer lived long enough")]
    grown = _megabytes(found.memory_growth_bytes)
    slope, peak = _megabytes(found.memory_slope_bytes), _megabytes(found.peak_memory_bytes)
    return [
        Line(
            what=f"memory over {found.seconds:.0f} s",
            found=f"{_megabytes(found.memory_bytes)}, {grown} more at the end, {slope} a minute; "
            f"peak {peak}",
            required=f"<= {_GROWTH_SHARE:.0%} more",
            holds=found.memory_growth_bytes <= _GROWTH_SHARE * found.memory_bytes,
        ),
        Line(
            what="open descriptors",
            found=f"{found.num_descriptors}, {found.descriptors_growth} more at the end; "
            f"peak {found.peak_descriptors}",
            required=f"<= {_GROWTH_DESCRIPTORS} more",
            holds=found.descriptors_growth <= _GROWTH_DESCRIPTORS,
        ),
    ]


def _megabytes(count: float) -> str:
    return f"{count / _MEGABYTE:.0f} MB"
