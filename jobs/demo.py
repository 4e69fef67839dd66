"""A study in small: does a weaker teacher help, and how long must it be trained?

    python jobs/demo.py [--directory DIR] [KEY=VALUE ...]

Prepares ``stdlib-docs`` and runs ``configs/sweeps/demo.yaml``: a teacher with two qualities, and
the control, three seeds of each. Ends with the answers to its two questions, and the page of the
report. Overrides apply to every run.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from raykd.cli.job import run_job
from rich.console import Console

PREPARED = ("--demo", "stdlib-docs", "--vocab-size", "2000", "--max-length", "64")
SWEEP = Path(__file__).parents[1] / "configs" / "sweeps" / "demo.yaml"
console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--directory", type=Path, default=Path(), help="where data/, runs/ and sweeps/ go"
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for all runs")
    options = parser.parse_args(arguments)
    data_uri = str(options.directory / "data" / "stdlib-docs")
    places = (
        f"data.uri={data_uri}",
        f"runs_uri={options.directory / 'runs'}",
        f"output_uri={options.directory / 'sweeps'}",
    )
    _raykd("prepare", *PREPARED, "--output", data_uri)
    _raykd("sweep", str(_shown(SWEEP)), *places, *options.overrides)
    _print_next(places)
    return 0


def _raykd(command: str, *arguments: str) -> None:
    console.print(f"\n$ raykd {shlex.join([command, *arguments])}", style="bold", markup=False)
    if status := run_job(command, arguments):
        sys.exit(status)


def _print_next(places: Sequence[str]) -> None:
    command_name = _shown(Path(sys.executable).with_name("raykd"))
    sweep = _shown(SWEEP)
    console.print("\nNext:")
    more = shlex.quote("seeds={at_least: 3, at_most: 12}")
    for command, why in (
        (f"sweep {sweep} {shlex.join(places)}", "finds all of it done"),
        (f"check {sweep} {shlex.join(places)} {more}", "says what more seeds could show"),
        (f"report {sweep} {shlex.join(places)}", "shows this again, and times the models"),
    ):
        console.print(f"  # {why}\n  {command_name} {command}", markup=False)


def _shown(path: Path) -> Path:
    """Return a path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
