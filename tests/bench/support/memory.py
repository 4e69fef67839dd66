"""What a process holds while it streams a data set in one way, read at stages of the epoch.

Each way gets a process of its own: python tests/bench/support/memory.py WAY DIRECTORY LANES
prints the memory at each stage as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from raykd.config.schema.data import DataConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.prefetch import prefetched
from rich.table import Table

from tests.bench.support.loaders import datasets_ways, pyarrow_way, raykd_ways

STAGES = (0.05, 0.25, 0.5, 0.75, 1.0)
"""Shares of the epoch where memory is read; before the first one every buffer has been full."""

_STEPS_AHEAD = 4

Held = dict[str, int]
"""Bytes: VmRSS resident now, RssAnon the part without a file behind it, VmHWM the highest yet."""


def held_in_own_process(way: str, *, directory: Path, num_lanes: int) -> list[Held]:
    """Return what a new process holds before the first batch of a way and at each stage."""
    command = [sys.executable, __file__, way, str(directory), str(num_lanes)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)  # type: ignore[no-any-return]


def growth(held: list[Held]) -> int:
    """Return by how many bytes the peak of the whole epoch exceeds that of its warm-up."""
    return max(held[-1]["VmHWM"] - held[1]["VmHWM"], 0)


def memory_table(held: dict[str, list[Held]], *, title: str) -> Table:
    """Return what each way holds at each stage."""
    table = Table(title=title)
    table.add_column("way, MiB")
    for column in ("before", *(f"{stage:.0%}" for stage in STAGES), "peak grows"):
        table.add_column(column, justify="right")
    for way, stages in held.items():
        resident = [f"{stage['VmRSS'] / 2**20:.0f}" for stage in stages]
        anonymous = [f"{stage['RssAnon'] / 2**20:.0f}" for stage in stages]
        table.add_row(way, *resident, f"{growth(stages) / 2**20:.1f}")
        table.add_row("  of it, no file behind", *anonymous)
    return table


def _held(batches: Iterator[torch.Tensor], *, tokens: int) -> list[Held]:
    # The kernel forgets the peak of the imports, which would hide later ones.
    Path("/proc/self/clear_refs").write_text("5")
    held = [_held_now()]
    read = 0
    for batch in batches:
        read += batch.numel()
        while len(held) <= len(STAGES) and read >= STAGES[len(held) - 1] * tokens:
            held.append(_held_now())
    return held


def _held_now() -> Held:
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) << 10 for name in ("VmRSS", "RssAnon", "VmHWM")}


def _batches(way: str, manifest: Manifest, *, cache: Path, lanes: int) -> Iterator[torch.Tensor]:
    config = DataConfig(uri=manifest.uri, num_lanes=lanes, shuffle_window=1)
    ways = [*raykd_ways(manifest, config), pyarrow_way(manifest)]
    if way.startswith("datasets"):
        ways += datasets_ways(manifest, cache)
    batches = next(known for known in ways if known.name == way).batches()
    return prefetched(batches, depth=_STEPS_AHEAD) if way.startswith("raykd") else batches


def main() -> None:
    """Stream in one way and print what is held."""
    way, directory, lanes = sys.argv[1:]
    torch.set_num_threads(1)
    manifest = read_manifest(f"{directory}/data")
    batches = _batches(way, manifest, cache=Path(directory, "cache"), lanes=int(lanes))
    tokens = sum(shard.tokens for shard in manifest.shards("train"))
    json.dump(_held(batches, tokens=tokens), sys.stdout)


if __name__ == "__main__":
    main()
