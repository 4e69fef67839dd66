"""Stream a data set in one way and print what this process holds as it goes, as JSON lines.

Run by ``streaming.py``, one process a way: python tests/bench/memory.py WAY DIRECTORY LANES
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
import torch
from raykd.config.schema.data import DataConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.prefetch import prefetched

from tests.bench.loaders import datasets_ways, pyarrow_way, raykd_ways

WARM_UP = 0.05
"""Share of the epoch after which every buffer has been full."""

STAGES = (WARM_UP, 0.25, 0.5, 0.75, 1.0)
_STEPS_AHEAD = 4
_STEPS_PER_SAMPLE = 50


def held_bytes() -> dict[str, int]:
    """Return the resident memory of this process, and the part that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "RssAnon")}


def samples(batches: Iterator[torch.Tensor], *, tokens: int) -> Iterator[dict[str, float]]:
    """Read all batches; yield the share that is read and the memory held, every 50 steps."""
    read = 0
    yield {"share": 0.0, **held_bytes()}
    for step, batch in enumerate(batches):
        read += batch.numel()
        if step % _STEPS_PER_SAMPLE == 0:
            yield {"share": read / tokens, **held_bytes()}
    yield {"share": 1.0, **held_bytes()}


def _batches(name: str, manifest: Manifest, *, cache: Path, num_lanes: int) -> Iterator[torch.Tensor]:
    config = DataConfig(uri=manifest.uri, num_lanes=num_lanes, shuffle_window=1)
    ways = [*raykd_ways(manifest, config), pyarrow_way(manifest)]
    if name.startswith("datasets"):
        datasets.disable_progress_bars()
        ways += datasets_ways(manifest, cache)
    batches = next(way for way in ways if way.name == name).batches()
    return prefetched(batches, depth=_STEPS_AHEAD) if name.startswith("raykd") else batches


def main() -> None:
    """Print one sample a line."""
    name, directory, num_lanes = sys.argv[1:]
    torch.set_num_threads(1)
    manifest = read_manifest(f"{directory}/data")
    batches = _batches(name, manifest, cache=Path(directory, "cache"), num_lanes=int(num_lanes))
    tokens = sum(shard.tokens for shard in manifest.shards("train"))
    for sample in samples(batches, tokens=tokens):
        sys.stdout.write(json.dumps(sample) + "\n")


if __name__ == "__main__":
    main()
