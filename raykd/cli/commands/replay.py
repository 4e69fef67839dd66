"""Take one step of a run once more and say what its rows did, for a step that diverged."""

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterable

import numpy as np
from rich.table import Table
from rich.text import Text

from raykd import strict_json
from raykd.cli.progress import console
from raykd.cli.tables import plain_table
from raykd.errors import ConfigError
from raykd.train.replay import replay_step
from raykd.train.step_report import GradientReport, RowReport, StepReport

_MOST_GRADIENTS = 8


def run(options: argparse.Namespace) -> int:
    """Print what the step does; a NaN is an answer too."""
    if options.rows < 1:
        message = f"--rows must be >= 1, got {options.rows}"
        raise ConfigError(message)

    def tell(line: str) -> None:
        if options.json:
            print(line, file=sys.stderr)
        else:
            console.print(line, markup=False)

    # A diverged step is what the command is for: report.error is printed, not raised.
    report = replay_step(options.uri, step=options.step, on_message=tell)
    if options.json:
        print(as_json(report))
        return 0
    for line in step_lines(report):
        tell(line)
    console.print()
    console.print(gradients_table(report.gradients), soft_wrap=False)
    console.print()
    console.print(rows_table(report.rows[: options.rows]), soft_wrap=False)
    if (more := len(report.rows) - options.rows) > 0:
        tell(f"and {more} more; --rows {len(report.rows)} shows all")
    return 0


def step_lines(report: StepReport) -> list[str]:
    """Return the numbers of the step, and whether training stops there."""
    numbers = {"loss": report.loss, **report.terms, "grad": report.grad_norm}
    lines = [
        f"step {report.step}"
        + "".join(f"  {name} {_digits(value)}" for name, value in numbers.items()),
        "training goes on after this step" if report.error is None else str(report.error),
    ]
    bad = [gradient for gradient in report.gradients if gradient.num_not_finite]
    if bad:
        lines.append(f"{len(bad)} of {len(report.gradients)} gradients are not finite")
    return lines


def as_json(report: StepReport) -> str:
    """Return the step as JSON; what is not finite is null, as JSON has no other word for it."""
    told = dataclasses.asdict(report) | {
        "error": None if report.error is None else str(report.error)
    }
    return strict_json.text(told, indent=1)


def gradients_table(gradients: tuple[GradientReport, ...]) -> Table:
    """Return the gradients that are not finite, or where all are the largest."""
    # Where one NaN has spread, the norms of the others say nothing.
    bad = [gradient for gradient in gradients if gradient.num_not_finite]
    table = plain_table("gradient of", "norm", "not finite", folds=False)
    for gradient in (bad or gradients)[:_MOST_GRADIENTS]:
        count = f"{gradient.num_not_finite} of {gradient.num_values}" if bad else "-"
        table.add_row(gradient.name, _number(gradient.norm), count)
    return table


def rows_table(rows: Iterable[RowReport]) -> Table:
    """Return the rows, each alone and with dropout off, with as much text as there is room."""
    table = plain_table("row", "language", "tokens", "loss alone", "grad alone", folds=False)
    # The one column that may shrink; each of its cells stays a line.
    table.add_column("text")
    for row in rows:
        table.add_row(
            str(row.row_id),
            row.language,
            str(row.tokens),
            _number(row.loss),
            _number(row.grad_norm),
            Text(_one_line(row.text), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _digits(value: float) -> str:
    """Return a value with the digits that float32 has: those beyond are of its copy in float64."""
    return str(np.float32(value))


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else f"[red]{value}[/]"


def _one_line(text: str) -> str:
    """Return text without line breaks and control characters, which a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())
