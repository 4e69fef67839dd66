"""Data sets of the Hub, read as a stream through ``datasets``, which knows their formats."""

import errno
from collections.abc import Iterator, Sequence

import datasets
from datasets.exceptions import DatasetsError

from raykd.data.prepare.readers.records import ROWS_PER_READ, Records, require_columns

_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def read_hub(
    name: str, config: str | None, split: str | None, columns: Sequence[str]
) -> Iterator[Records]:
    """Yield the rows of one split.

    Raises:
        DataError: A column is missing.
        ValueError: There is no such data set, or it cannot be read.
    """
    try:
        data_set = datasets.load_dataset(name, config, split=split, streaming=True)
        # Some formats know their columns only when rows are there.
        if data_set.column_names is not None:
            require_columns(name, columns, present=data_set.column_names)
            data_set = data_set.select_columns(list(columns))
        first = 1
        for table in data_set.with_format("arrow").iter(batch_size=ROWS_PER_READ):
            require_columns(name, columns, present=table.column_names)
            numbers = range(first, first + table.num_rows)
            yield Records(
                table=table, unit="row", numbers=numbers, features=data_set.features or {}
            )
            first = numbers.stop
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        message = f"{error}: its cache needs a folder; set HF_HOME to one that can be written to"
        raise ValueError(message) from error
    except DatasetsError as error:
        raise ValueError(str(error)) from error
