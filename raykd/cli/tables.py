"""Tables as raykd prints them: columns alone, without lines."""

from rich.table import Table


def plain_table(*columns: str, folds: bool = True) -> Table:
    """Return an empty table.

    Args:
        columns: What stands above each.
        folds: Whether a cell that has no room goes on in the next line; else none is folded.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=not folds)
    return table
