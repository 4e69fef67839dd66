"""Say whether two models can be teacher and student, and what that costs."""

import argparse
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from raykd.cli.problems import print_problems
from raykd.cli.progress import console
from raykd.cli.tables import plain_table
from raykd.planning.pair import Pair, examine_pair


def run(options: argparse.Namespace) -> int:
    """Print what is found; return 2 when the two models do not fit."""
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


def pair_tables(pair: Pair) -> Iterator[Table]:
    """Yield what is said about a pair: what the two have, and what follows of it."""
    facts = plain_table("", "teacher", "student")
    for name, text in pair.teacher.items():
        facts.add_row(name, escape(text), escape(pair.student[name]))
    yield facts
    lines = plain_table("", "")
    for name, text in (*pair.lines, *(("[yellow]warning[/]", text) for text in pair.warnings)):
        lines.add_row(name, escape(text))
    yield lines
