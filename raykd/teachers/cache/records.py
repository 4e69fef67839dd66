"""Records: what is kept of each row, as the columns of an Arrow file, and read from it again.

Columns: ``row_id``, ``check`` (of what was asked, see ``raykd.teachers.cache.hashing``), ``crc``
(of the answer's bytes), ``positions`` (scored ones), and for each column of the encoding a list of
the values of each position.
There is one record batch to a file, not compressed: a row is read where it lies.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.batch import IntArray
from raykd.teachers.cache.hashing import Checks
from raykd.teachers.cache.payload import Values

_FIXED = ("row_id", "check", "crc", "positions")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What a teacher said about the rows of one batch."""

    row_ids_B: IntArray
    checks_B: Checks
    examples_P: IntArray
    """Row of each scored position, rising."""

    columns: dict[str, Values]
    """The columns of the encoding, each [P, W]."""


def records_of(answers: Iterable[Answers], row_ids_N: IntArray) -> pa.RecordBatch:
    """Return the records of rows, which rise, from the answers to batches of them in any order."""
    pieces = list(answers)
    place_of_piece = [np.searchsorted(row_ids_N, piece.row_ids_B) for piece in pieces]
    places_N = np.concatenate(place_of_piece)
    checks_N = np.zeros(len(row_ids_N), dtype=np.uint64)
    checks_N[places_N] = np.concatenate([piece.checks_B for piece in pieces])
    rows_P = np.concatenate(
        [places[piece.examples_P] for places, piece in zip(place_of_piece, pieces, strict=True)]
    )
    # Batches are of rows of like length, in another order than the file's; stable, so that the
    # positions of a row stay in theirs.
    order_P = np.argsort(rows_P, kind="stable")
    positions_N = np.bincount(rows_P, minlength=len(row_ids_N))
    values = {
        name: np.concatenate([piece.columns[name] for piece in pieces])[order_P]
        for name in pieces[0].columns
    }
    ends_N = np.cumsum(positions_N)
    return pa.RecordBatch.from_pydict(
        {
            "row_id": row_ids_N,
            "check": checks_N,
            "crc": _crcs(values, ends_N),
            "positions": positions_N.astype(np.int32),
            **{name: _lists(column, ends_N) for name, column in values.items()},
        },
        schema=_schema(values),
    )


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a file, as arrays over its bytes."""

    row_ids_N: IntArray
    checks_N: Checks
    _crcs_N: npt.NDArray[np.uint32]
    _ends_N: IntArray
    _values: dict[str, Values]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.row_ids_N)

    @staticmethod
    def of(batch: pa.RecordBatch) -> "Records":
        """Return the records of a record batch, without a copy of what is large.

        Raises:
            ValueError: It has other columns, or lists that leave their bytes.
        """
        if batch.schema.names[: len(_FIXED)] != list(_FIXED):
            message = f"has the columns {batch.schema.names}"
            raise ValueError(message)
        # In full: offsets of a torn file would lead outside its bytes.
        batch.validate(full=True)
        fixed = {name: batch[name].to_numpy() for name in _FIXED}
        ends_N = np.cumsum(fixed["positions"].astype(np.int64))
        # Rows of positions of W values: both levels of lists lie flat in one buffer.
        values = {
            name: batch[name].flatten().flatten().to_numpy().reshape(-1, _width(batch[name].type))
            for name in batch.schema.names[len(_FIXED) :]
        }
        return Records(fixed["row_id"], fixed["check"], fixed["crc"], ends_N, values)

    @property
    def nothing(self) -> dict[str, Values]:
        """The columns of no row."""
        # Copies: a view of a file would keep it mapped.
        return {name: column[:0].copy() for name, column in self._values.items()}

    def of_row(self, place: int) -> dict[str, Values]:
        """Return the columns of one row.

        Raises:
            ValueError: They are not the bytes that were written.
        """
        stop = int(self._ends_N[place])
        start = int(self._ends_N[place - 1]) if place else 0
        columns = {name: column[start:stop] for name, column in self._values.items()}
        if _crc(columns) != self._crcs_N[place]:
            message = f"row {self.row_ids_N[place]}: its bytes are not those that were written"
            raise ValueError(message)
        return columns


def _crc(columns: dict[str, Values]) -> int:
    crc = 0
    for values in columns.values():
        crc = zlib.crc32(np.ascontiguousarray(values).view(np.uint8).data, crc)
    return crc


def _crcs(values: dict[str, Values], ends_N: IntArray) -> npt.NDArray[np.uint32]:
    starts_N = np.concatenate([[0], ends_N[:-1]])
    ranges = zip(starts_N.tolist(), ends_N.tolist(), strict=True)
    crcs = [
        _crc({name: column[start:stop] for name, column in values.items()})
        for start, stop in ranges
    ]
    return np.array(crcs, dtype=np.uint32)


def _lists(column: Values, ends_N: IntArray) -> pa.Array:
    of_positions = pa.FixedSizeListArray.from_arrays(pa.array(column.ravel()), column.shape[1])
    return pa.LargeListArray.from_arrays(pa.array(np.concatenate([[0], ends_N])), of_positions)


def _schema(values: dict[str, Values]) -> pa.Schema:
    fixed = zip(_FIXED, (pa.int64(), pa.uint64(), pa.uint32(), pa.int32()), strict=True)
    lists = {
        name: pa.large_list(pa.list_(pa.from_numpy_dtype(column.dtype), column.shape[1]))
        for name, column in values.items()
    }
    return pa.schema([*fixed, *lists.items()])


def _width(list_type: pa.DataType) -> int:
    return int(list_type.value_type.list_size)
