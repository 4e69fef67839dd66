"""raykd against other trainers on the same batches: steps per second and memory, in one run.

    python tests/bench/trainers.py [--case NAME ...] [--ways NAME ...] [--rounds N]

Every way takes the same optimizer steps from the same weights, on the same rows with the same
masks, in a process of its own; the ways take turns, round after round. `transformers` is its
Trainer with the usual `compute_loss`: full logits of both models, T squared x KL beside the cross
entropy. The peers are installed from tests/bench/rivals/peers.txt into an environment of their
own, by `make .venv/peers/tried`; a way that cannot run says why.

The losses of every step are compared, too: a way that computes something else shows there. The
floor of a step is measured in each round (tests/bench/rivals/floor.py): `of floor` is the share of
a way's CPU seconds that no exact way avoids on this machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from raykd.machine.cores import has_bfloat16
from rich.console import Console

from tests.bench.rivals.cases import BASE, CASES, FLOOR, Case, Material
from tests.bench.rivals.figures import Taken, case_table, summary

ROOT = Path(__file__).absolute().parents[2]
RAYKD_PYTHON = Path(sys.executable)
PEERS_PYTHON = ROOT / ".venv/peers/bin/python"


def main() -> int:
    """Compare the ways in every case that is asked for."""
    options = _options()
    found: dict[str, Any] = {}
    # Wide enough for every column, into a file too.
    console = Console(width=132)
    with tempfile.TemporaryDirectory(prefix="raykd-trainers-") as directory:
        for case in (CASES[name] for name in options.case):
            material = Material(root=Path(directory, case.name))
            in_process(case, material, "raykd-material", threads=options.threads)
            taken = compare(case, material, options)
            console.print(case_table(case, taken))
            found[case.name] = summary(case, taken)
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(found, indent=1))
    print(f"every figure: {options.json}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument(
        "--ways", nargs="+", metavar="NAME", help="default: all of a case that can run here"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=ROOT / "runs/bench/trainers.json")
    return parser.parse_args()


def compare(case: Case, material: Material, options: argparse.Namespace) -> Taken:
    """Let the ways take turns; return what each round of each way found, or why it cannot."""
    refused = dict(case.unfit)
    if not options.ways:
        refused |= {way: reason for way in case.ways if (reason := unfit_here(way))}
    taken = Taken(rounds={}, refused=refused, floors=[])
    asked = [way for way in case.ways if way == BASE or way in (options.ways or case.ways)]
    ways = [way for way in asked if way not in taken.refused]
    for way in (way for way in ways if "cached" in way):
        # The first run of all makes the cache.
        attempt(case, material, way, taken, threads=options.threads)
    taken.rounds.clear()
    for _ in range(options.rounds):
        taken.floors.append(in_process(case, material, FLOOR, threads=options.threads))
        for way in (way for way in ways if way not in taken.refused):
            attempt(case, material, way, taken, threads=options.threads)
    return taken


def attempt(case: Case, material: Material, way: str, taken: Taken, *, threads: int) -> None:
    """Take the steps in one way once more, or note why that cannot be."""
    try:
        figures = in_process(case, material, way, threads=threads)
    except subprocess.CalledProcessError as error:
        taken.refused[way] = (error.stderr.strip().splitlines() or ["failed"])[-1]
    else:
        taken.rounds.setdefault(way, []).append(figures)


def unfit_here(way: str) -> str | None:
    """Return why a way cannot be measured on this machine, or None."""
    if not way.startswith("raykd") and not PEERS_PYTHON.exists():
        return "not installed: make .venv/peers/tried"
    if way.endswith("bf16") and not has_bfloat16():
        return "this CPU has no instructions for bfloat16"
    return None


def in_process(case: Case, material: Material, way: str, *, threads: int) -> dict[str, Any]:
    """Take the steps in a fresh process; return what its watch saw."""
    python = RAYKD_PYTHON if way.startswith("raykd") else PEERS_PYTHON
    arguments = [case.name, way, str(material.root), str(threads)]
    done = subprocess.run(
        [str(python), "-m", "tests.bench.rivals.one", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    sys.exit(main())
