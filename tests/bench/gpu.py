"""One device: are its paths right, how fast is training on it, and how near to what it can do.

    python tests/bench/gpu.py [--small] [--device cpu|cuda] [--only PART ...] [--json FILE]

It makes its weights and its data, and asks no network. Parts run in processes of their own: one
that fails says why, and the others go on. All together take less than 8 minutes on one GPU; what
does not fit says so. The exit status is 1 where a check fails or a part of checks does not run.

`transformers.Trainer` needs the package accelerate, Liger's loss liger-kernel, compiling triton
and a C++ compiler; what is missing of that and of raykd's own packages is told first.
"""

import argparse
import importlib
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).absolute().parents[2]
# A checkout is enough: nothing has to be installed but what raykd needs.
sys.path.insert(0, str(ROOT))

CHECKS = "checks"
PARTS = {
    "float32": CHECKS,
    "bfloat16": CHECKS,
    "vocabulary": CHECKS,
    "copies": CHECKS,
    "waits": CHECKS,
    "cached": CHECKS,
    "resumed": CHECKS,
    "recomputed": CHECKS,
    "overlapped": CHECKS,
    "sharded": CHECKS,
    "collectives": CHECKS,
    "masked": "throughput",
    "causal": "throughput",
    "roofline": "roofline",
    # Compiling takes minutes: last.
    "compiled": CHECKS,
    "masked-compiled": "throughput",
    "causal-compiled": "throughput",
}
"""Part to its module in tests/bench/device, in the order in which they run."""

_MOST_SECONDS = 450.0
_BESIDE = ("accelerate", "liger-kernel", "triton")

Outcome = dict[str, Any]
"""Part, rows, error or null, and seconds."""


def main() -> int:
    """Run the parts, and print what they found; a child process runs some of them."""
    options = _options()
    if options.child:
        run_here(options)
        return 0
    console = Console(width=140)
    for line in missing():
        console.print(line)
    outcomes = list(run_apart(options))
    checks = [each for each in outcomes if PARTS[each["part"]] == CHECKS]
    console.print(table_of(CHECKS, checks))
    for outcome in outcomes:
        if outcome not in checks:
            console.print(table_of(outcome["part"], [outcome]))
    for line in notes(outcomes):
        console.print(line, markup=False)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(outcomes, indent=1))
    print(f"every figure: {options.json}")
    return int(any(map(is_wrong, checks)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny models, for a CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--json", type=Path, default=ROOT / "runs/bench/gpu.json")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def missing() -> Iterator[str]:
    """Yield what is not installed as it is wanted, a line each."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = tomllib.load(file)["project"]["dependencies"]
    for requirement in map(Requirement, (*wanted, *_BESIDE)):
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"not installed: {requirement}"
        else:
            if not requirement.specifier.contains(found, prereleases=True):
                yield f"{requirement.name} {found} is installed, wanted: {requirement}"


def run_apart(options: argparse.Namespace) -> Iterator[Outcome]:
    """Run neighbouring parts of one module in a process; yield an outcome for every part."""
    deadline = time.monotonic() + _MOST_SECONDS
    asked = [name for name in PARTS if name in options.only]
    with tempfile.TemporaryDirectory(prefix="raykd-gpu-") as directory:
        for _, group in itertools.groupby(asked, key=PARTS.__getitem__):
            names, told = list(group), Path(directory, "outcomes")
            told.unlink(missing_ok=True)
            died = _in_process(options, names, told, seconds=deadline - time.monotonic())
            lines = told.read_text().splitlines() if told.exists() else []
            outcomes = {each["part"]: each for each in map(json.loads, lines)}
            for name in names:
                nothing = {"part": name, "rows": [], "error": died, "seconds": 0.0}
                yield outcomes.get(name, nothing)


def _in_process(
    options: argparse.Namespace, names: Sequence[str], told: Path, *, seconds: float
) -> str:
    """Run parts in a child, which writes their outcomes; return why some are not there."""
    if seconds < 0:
        return f"no time is left of {_MOST_SECONDS:.0f} s"
    command = [sys.executable, __file__, "--child", str(told), "--device", options.device]
    command += ["--only", *names, *(["--small"] if options.small else [])]
    # One device: with several, a trainer would share out its batches over them.
    environment = {"CUDA_VISIBLE_DEVICES": "0"} | os.environ
    if options.device == "cpu":
        environment["OMP_NUM_THREADS"] = "1"
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return f"it was stopped after {_MOST_SECONDS:.0f} s of all parts"
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return f"the process ended with status {done.returncode}: {last}"


def run_here(options: argparse.Namespace) -> None:
    """Run parts one after the other, and write the outcome of each when it is there."""
    import torch  # noqa: PLC0415  the parent tells what is missing

    from tests.bench.device.setting import Setting, reason_of  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="raykd-gpu-") as directory:
        setting = Setting(
            device=torch.device(options.device),
            is_small=options.small,
            directory=Path(directory),
        )
        for name in options.only:
            started, rows, error = time.perf_counter(), [], None
            try:
                torch.zeros(1, device=setting.device)
                module = importlib.import_module(f"tests.bench.device.{PARTS[name]}")
                rows = module.PARTS[name](setting)
            except Exception as raised:  # noqa: BLE001  the other parts go on
                error = reason_of(raised)
            outcome = {"part": name, "rows": rows, "error": error}
            outcome["seconds"] = time.perf_counter() - started
            with options.child.open("a") as file:
                file.write(json.dumps(outcome) + "\n")


def is_wrong(outcome: Outcome) -> bool:
    """Tell whether a part of checks did not run, or found something wrong."""
    return bool(outcome["error"]) or any(row["result"] == "WRONG" for row in outcome["rows"])


def notes(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield why parts, and ways of parts, have no figures."""
    for outcome in outcomes:
        part = outcome["part"]
        if outcome["error"]:
            yield f"{part}: {outcome['error']}"
        yield from (
            f"{part}, {row['way']}: {row['note']}" for row in outcome["rows"] if "note" in row
        )


def table_of(title: str, outcomes: Sequence[Outcome]) -> Table:
    """Return the rows of outcomes under their headings; a row need not have all."""
    rows = [row for outcome in outcomes for row in outcome["rows"]]
    headings = list(dict.fromkeys(heading for row in rows for heading in row if heading != "note"))
    table = Table(title=title)
    for heading in headings:
        is_text = any(isinstance(row.get(heading), str) for row in rows)
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row.get(heading)) for heading in headings))
    return table


def _shown(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"
    return value or ""


if __name__ == "__main__":
    sys.exit(main())
