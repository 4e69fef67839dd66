"""The main job in small: does a weak teacher help a larger student, against its control?

    python jobs/demo.py [--directory DIR] [KEY=VALUE ...]

Prepares ``stdlib-docs``, trains a teacher of 2 layers, distils a student of 4 layers from it and
trains the same student alone (loss weight 0); prints their held-out losses. Overrides apply to
all three runs.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raykd.cli.main import main as raykd
from raykd.config.load import load_run
from raykd.errors import RaykdError
from raykd.train.paths import run_paths
from raykd.train.ray_cluster import LOCAL, ray_cluster
from raykd.train.worker import RunResult, read_result
from rich.console import Console
from rich.table import Table

CONFIGS = Path(__file__).parents[1] / "configs" / "runs"
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """One run of the demo."""

    label: str
    weight: str
    directory: str
    result: RunResult
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--directory", type=Path, default=Path(), help="where data/ and runs/ go")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for all three runs")
    options = parser.parse_args(arguments)
    try:
        return _demo(options.directory, options.overrides)
    except RaykdError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_status


def _demo(directory: Path, overrides: Sequence[str]) -> int:
    data_uri = str(directory / "data" / "stdlib-docs")
    common = [f"data.uri={data_uri}", f"output_uri={directory / 'runs'}", *overrides]
    _raykd("prepare", "--demo", "stdlib-docs", "--output", data_uri)
    # One Ray for all three runs: starting it takes seconds.
    with ray_cluster(LOCAL, num_cpus=2, num_gpus=0):
        teacher = _trained("teacher, 2 layers, alone", "-", "demo_teacher.yaml", common)
        student = [*common, f"teachers.small.model={_shown(Path(teacher.directory))}"]
        runs = [
            teacher,
            _trained(
                "student, 4 layers, control",
                "0",
                "demo_student.yaml",
                ["name=demo-control", "losses.forward_kl.weight=0", *student],
            ),
            _trained("student, 4 layers, distilled", "4 -> 1", "demo_student.yaml", student),
        ]
    _print_table(runs)
    _print_next(runs[-1], teacher)
    return 0


def _trained(label: str, weight: str, config: str, overrides: Sequence[str]) -> Trained:
    started = time.monotonic()
    path = CONFIGS / config
    _raykd("train", str(_shown(path)), *overrides)
    paths = run_paths(load_run(path, overrides))
    result = read_result(paths)
    assert result is not None  # noqa: S101  the command above returned 0
    return Trained(
        label=label,
        weight=weight,
        directory=paths.run,
        result=result,
        seconds=time.monotonic() - started,
    )


def _raykd(*arguments: str) -> None:
    console.print(f"\n$ raykd {shlex.join(arguments)}", style="bold", markup=False)
    if status := raykd(arguments):
        sys.exit(status)


def _print_table(runs: Sequence[Trained]) -> None:
    table = Table(box=None, title="\nHeld-out masked-LM loss on stdlib-docs", title_justify="left")
    table.add_column("model", no_wrap=True)
    table.add_column("loss weight", justify="right")
    table.add_column("eval loss", justify="right")
    table.add_column("perplexity", justify="right")
    table.add_column("seconds", justify="right")
    for run in runs:
        metrics = run.result.metrics
        table.add_row(
            run.label,
            run.weight,
            f"{metrics['eval/loss']:.4f}",
            f"{metrics['eval/perplexity']:.1f}",
            f"{run.seconds:.0f}",
        )
    console.print(table)
    control, distilled = (run.result.metrics["eval/loss"] for run in runs[1:])
    console.print(
        f"distilled minus control: {distilled - control:+.4f} nats, "
        f"one seed: an anecdote, not a verdict"
    )


def _print_next(student: Trained, teacher: Trained) -> None:
    console.print(f"\nThe distilled student, a transformers directory: {student.result.model_uri}")
    command_name = _shown(Path(sys.executable).with_name("raykd"))
    console.print("\nNext:")
    config = _shown(CONFIGS / "demo_student.yaml")
    override = f"teachers.small.model={_shown(Path(teacher.directory))}"
    for command in (
        f"evaluate {_shown(Path(student.directory))}",
        f"check {config} {override} student.init='{{remap: {{}}}}'",
        f"train {config} {override} losses.forward_kl.weight=1 name=constant-weight",
    ):
        console.print(f"  {command_name} {command}", markup=False)


def _shown(path: Path) -> Path:
    """Return a path as one would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
