"""What each setting of the machine brings to raykd's own steps: ratios in one run.

    python tests/bench/machine.py [--small] [--rounds N] [--case masked|causal|classes]

Every way takes the same steps in a process of its own, interleaved over several rounds; on one
thread but for the last way. It prints the losses, too: a way that computes something else would
show there.

    plain               torch and glibc as they are
    kept, environment   glibc keeps large blocks: MALLOC_ variables, set before the process starts
    kept, in process    the same by mallopt, as raykd does in every process that trains
    layers twice        in addition to what is kept: train.activation_checkpointing
    bfloat16            in addition to what is kept: train.precision, and the teacher's dtype
    all cores           in addition to what is kept: as many threads as there are cores
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.rivals.cases import CASES, Case, Material

_WARM_UP_STEPS = 2
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(16 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A set of settings."""

    environment: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = True
    has_all_cores: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Of the run."""


WAYS = {
    "plain": Way(keeps=False),
    "kept, environment": Way(keeps=False, environment=_ENVIRONMENT),
    "kept, in process": Way(),
    "layers twice": Way(changes={"train": {"activation_checkpointing": True}}),
    "bfloat16": Way(
        changes={
            "train": {"precision": "bfloat16"},
            "teachers": {"teacher": {"dtype": "bfloat16"}},
        }
    ),
    "all cores": Way(has_all_cores=True),
}

Figures = dict[str, float]


def main() -> int:
    """Compare the ways, or run one of them where a parent process asks for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="one round of two ways")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", choices=CASES, default="masked")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    case = CASES[options.case]
    if options.way:
        print(json.dumps(taken(case, Material(root=options.directory), WAYS[options.way])))
        return 0
    ways = ["plain", "kept, in process"] if options.small else offered()
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        figures = compared(
            case, Path(directory), ways=ways, rounds=1 if options.small else options.rounds
        )
    Console().print(table_of(case, figures))
    return 0


def offered() -> list[str]:
    """Return the ways that this machine's CPU has instructions for."""
    from raykd.machine.cores import has_bfloat16  # noqa: PLC0415  children need it more

    return [way for way in WAYS if way != "bfloat16" or has_bfloat16()]


def compared(
    case: Case, directory: Path, *, ways: list[str], rounds: int
) -> dict[str, list[Figures]]:
    """Return the figures of every way, by round."""
    from tests.bench.rivals.material import make_material  # noqa: PLC0415  as above

    make_material(case, Material(root=directory))
    figures: dict[str, list[Figures]] = {way: [] for way in ways}
    for _, way in itertools.product(range(rounds), ways):
        figures[way].append(in_process(way, case, directory))
    return figures


def in_process(way: str, case: Case, directory: Path) -> Figures:
    """Run one way in a fresh process."""
    arguments = ["--case", case.name, "--way", way, "--directory", str(directory)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(WAYS[way].environment),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def taken(case: Case, material: Material, way: Way) -> Figures:
    """Take the steps of a case with the settings of a way; return what they cost."""
    import torch  # noqa: PLC0415  the parent needs none of it
    from raykd.distill.assemble import assemble  # noqa: PLC0415
    from raykd.distill.loop import training_steps  # noqa: PLC0415
    from raykd.distill.setup import read_setup  # noqa: PLC0415
    from raykd.distill.world import World  # noqa: PLC0415
    from raykd.machine.allocator import keep_large_blocks  # noqa: PLC0415
    from raykd.machine.cores import usable_cores  # noqa: PLC0415

    from tests.bench.rivals.material import run_config  # noqa: PLC0415

    torch.set_num_threads(usable_cores() if way.has_all_cores else 1)
    if way.keeps:
        keep_large_blocks()
    config = run_config(
        case,
        material,
        name="machine",
        micro_batch_rows=case.micro_batch_rows,
        changes=dict(way.changes),
    )
    run = assemble(read_setup(config), world=World())
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    for _ in range(_WARM_UP_STEPS):
        next(steps)
    before, started_at = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    finished = list(steps)
    seconds = time.perf_counter() - started_at
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return {
        "tokens_per_second": sum(step.tokens for step in finished) / seconds,
        "cpu_seconds": (user + system) / len(finished),
        "system_seconds": system / len(finished),
        "faults": (after.ru_minflt - before.ru_minflt) / len(finished),
        "peak_bytes": after.ru_maxrss << 10,
        "loss": finished[-1].loss,
    }


def table_of(case: Case, figures: dict[str, list[Figures]]) -> Table:
    """Return medians over the rounds; ratios are to the plain way of the same round."""
    table = Table(title=case.title)
    for heading in ("way", "x wall", "x CPU", "CPU s a step", "of it kernel", "faults a step"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for heading in ("peak MB", "last loss"):
        table.add_column(heading, justify="right")
    plain = figures["plain"]
    for way, found in figures.items():
        pairs = list(zip(found, plain, strict=True))
        wall = statistics.median(
            mine["tokens_per_second"] / theirs["tokens_per_second"] for mine, theirs in pairs
        )
        cpu = statistics.median(
            theirs["cpu_seconds"] / mine["cpu_seconds"] for mine, theirs in pairs
        )
        middle = {name: statistics.median(one[name] for one in found) for name in found[0]}
        table.add_row(
            way,
            f"{wall:.2f}",
            f"{cpu:.2f}",
            f"{middle['cpu_seconds']:.2f}",
            f"{middle['system_seconds']:.2f}",
            f"{middle['faults']:,.0f}",
            f"{middle['peak_bytes'] / 1e6:,.0f}",
            f"{middle['loss']:.5f}",
        )
    return table


if __name__ == "__main__":
    raise SystemExit(main())
