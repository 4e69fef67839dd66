"""Examine what distillation rests on: the losses, a teacher and a student, the storage."""

import argparse
from typing import TYPE_CHECKING, get_args

from raykd.cli.debug import debug_option
from raykd.cli.quiet import quiet_libraries
from raykd.cli.tables import plain_table
from raykd.config.schema.run import TaskName
from raykd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from raykd.doctor.subject import Finding
    from raykd.planning.pair import Pair

_LOSSES = "prove that the objective is what it says, on this device and in this precision"
_PAIR = "say whether two models can be teacher and student, and what that costs"
_STORAGE = "say what a store lets raykd do: it writes a small object, and removes it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd doctor``."""
    subjects = parser.add_subparsers(dest="subject", metavar="SUBJECT", required=True)
    debug = [debug_option()]
    losses = subjects.add_parser("losses", help=_LOSSES, description=_LOSSES, parents=debug)
    losses.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    losses.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="as train.precision, and as the teacher's dtype",
    )
    pair = subjects.add_parser("pair", help=_PAIR, description=_PAIR, parents=debug)
    for name in ("teacher", "student"):
        pair.add_argument(
            name, metavar=name.upper(), help="Hub name, or directory of a model, run or checkpoint"
        )
    pair.add_argument("--data", metavar="URI", help="prepared data to compare and score both on")
    pair.add_argument(
        "--task", choices=get_args(TaskName), help="default: what the teacher's head was made for"
    )
    pair.add_argument(
        "--split", default="validation", help="split of the data to score on; default: validation"
    )
    storage = subjects.add_parser("storage", help=_STORAGE, description=_STORAGE, parents=debug)
    storage.add_argument("uri", metavar="URI", help="where runs or data are to be written")


def run(options: argparse.Namespace) -> int:
    """Print what is found; return 1 when a check fails, 2 when the two models do not fit."""
    quiet_libraries()
    examine = {"losses": _examine_losses, "pair": _examine_pair, "storage": _examine_storage}
    return examine[options.subject](options)


def losses_table(findings: "list[Finding]") -> "Table":
    """Return the checks of the losses as a table."""
    table = plain_table("check", "what it proves", "deviation", "allowed", "")
    for finding in findings:
        table.add_row(
            finding.name,
            finding.claim,
            f"{finding.deviation:.2g}",
            f"{finding.tolerance:.2g}",
            "pass" if finding.is_ok else "[red]FAIL[/]",
        )
    return table


def pair_tables(pair: "Pair") -> "Iterator[Table]":
    """Yield what is said about a pair: what the two have, and what follows of it."""
    from rich.markup import escape  # noqa: PLC0415

    facts = plain_table("", "teacher", "student")
    for name, text in pair.teacher.items():
        facts.add_row(name, escape(text), escape(pair.student[name]))
    yield facts
    lines = plain_table("", "")
    for name, text in (*pair.lines, *(("[yellow]warning[/]", text) for text in pair.warnings)):
        lines.add_row(name, escape(text))
    yield lines


def _examine_losses(options: argparse.Namespace) -> int:
    # Imported here: torch takes seconds, and --help must be instant.
    import torch  # noqa: PLC0415

    from raykd.cli.progress import console  # noqa: PLC0415
    from raykd.doctor.subject import Setting, Subject  # noqa: PLC0415
    from raykd.doctor.suite import findings  # noqa: PLC0415

    if options.device == "cuda" and not torch.cuda.is_available():
        message = "--device: torch finds no CUDA device here; leave it out to check on the CPU"
        raise ConfigError(message)
    setting = Setting(device=torch.device(options.device), dtype=getattr(torch, options.dtype))
    found = list(findings(Subject.real(), setting))
    console.print(losses_table(found))
    failed = [finding.name for finding in found if not finding.is_ok]
    verdict = (
        f"{len(failed)} of {len(found)} checks fail" if failed else f"{len(found)} checks pass"
    )
    console.print(f"\n{verdict} on {options.device} in {options.dtype}", markup=False)
    return 1 if failed else 0


def _examine_pair(options: argparse.Namespace) -> int:
    from raykd.cli.problems import print_problems  # noqa: PLC0415
    from raykd.cli.progress import console  # noqa: PLC0415
    from raykd.planning.pair import examine_pair  # noqa: PLC0415

    pair = examine_pair(
        options.teacher,
        options.student,
        task=options.task,
        data_uri=options.data,
        split=options.split,
    )
    for table in pair_tables(pair):
        console.print(table)
    return print_problems(console, pair.problems, paths=[], data_uris=[])


def _examine_storage(options: argparse.Namespace) -> int:
    from raykd.cli.progress import console  # noqa: PLC0415
    from raykd.storage.remote.probe import probe_steps  # noqa: PLC0415

    table = plain_table("step", "ms", "")
    try:
        for step in probe_steps(options.uri):
            verdict = "ok" if step.is_granted else "[yellow]no[/]: raykd does without"
            table.add_row(step.name, f"{1_000 * step.seconds:.0f}", verdict)
    finally:
        # The error that ends the steps is told after those that were done.
        if table.row_count:
            console.print(table)
    return 0
