"""Parquet, Arrow and Feather files: columns as they are stored, and only those that are asked for.

Everything happens in the calling thread. A scan of ``pyarrow.dataset``, which ``datasets`` uses,
has threads of its own: one that an error leaves unfinished can abort the process when it ends
(arrow issue 39862, datasets issue 7566).
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from raykd.data.prepare.readers.records import ROWS_PER_READ, Records, require_columns
from raykd.data.prepare.readers.streams import whole_file

_DATASETS = b"huggingface"
_READ_BYTES = 8 << 20


def read_parquet(uri: str, names: Sequence[str]) -> Iterator[Records]:
    """Yield the rows of a Parquet file.

    Raises:
        DataError: A column is missing, or there twice.
    """
    with whole_file(uri) as source, pq.ParquetFile(source, buffer_size=_READ_BYTES) as file:
        require_columns(uri, names, present=file.schema_arrow.names)
        batches = file.iter_batches(ROWS_PER_READ, columns=list(names), use_threads=False)
        yield from _records(batches, file.schema_arrow, names)


def read_arrow(uri: str, names: Sequence[str]) -> Iterator[Records]:
    """Yield the rows of an Arrow file, be it of the format for files (Feather) or for streams.

    Raises:
        DataError: A column is missing, or there twice.
    """
    with whole_file(uri) as source:
        schema = _opened(source, None)[0]
        require_columns(uri, names, present=schema.names)
        fields = [schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        yield from _records(_opened(source, options)[1], schema, names)


def _opened(
    source: pa.NativeFile, options: pa.ipc.IpcReadOptions | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    # The schema may have been read from it before.
    source.seek(0)
    try:
        file = pa.ipc.open_file(source, options=options)
    except pa.ArrowInvalid:
        source.seek(0)
        stream = pa.ipc.open_stream(source, options=options)
        return stream.schema, iter(stream)
    return file.schema, map(file.get_batch, range(file.num_record_batches))


def _records(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, names: Sequence[str]
) -> Iterator[Records]:
    features = _features(schema, names)
    first = 1
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_PER_READ):
            piece = pa.Table.from_batches([batch.slice(start, ROWS_PER_READ)])
            numbers = range(first, first + piece.num_rows)
            yield Records(table=piece, unit="row", numbers=numbers, features=features)
            first = numbers.stop


def _features(schema: pa.Schema, names: Sequence[str]) -> Mapping[str, object]:
    """Return what ``datasets`` wrote about some columns into the schema of its files."""
    known = json.loads((schema.metadata or {}).get(_DATASETS, b"{}"))
    features = known.get("info", {}).get("features") or {}
    if not (wanted := {name: features[name] for name in names if name in features}):
        return {}
    # Imported here: takes a second, and a folder for its cache.
    from datasets import Features  # noqa: PLC0415

    of_columns = pa.schema([schema.field(name) for name in wanted])
    metadata = {_DATASETS: json.dumps({"info": {"features": wanted}})}
    known_features: Mapping[str, object] = Features.from_arrow_schema(
        of_columns.with_metadata(metadata)
    )
    return known_features
