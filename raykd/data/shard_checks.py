"""Whether a record batch holds what the manifest says: else an id would miss its table.

An id beyond the vocabulary stops a GPU without a word on which row it was.
"""

import pyarrow as pa
import pyarrow.compute as pc

from raykd.config.schema.prepare import NUMBER
from raykd.data.manifest import NO_LABEL, Manifest, row_schema


def expected_schema(manifest: Manifest) -> pa.Schema:
    """Return the columns that every shard of a data set has."""
    return row_schema(
        manifest.tokenizer.vocab_size,
        labels=manifest.labels,
        has_words=manifest.word_labels is not None,
        has_types=manifest.has_token_types,
    )


def check_batch(batch: pa.RecordBatch, manifest: Manifest, *, schema: pa.Schema) -> None:
    """Compare a record batch with its manifest.

    Args:
        batch: As it was read.
        manifest: Of the data set.
        schema: Its ``expected_schema``.

    Raises:
        ValueError: They differ; the message says in what.
    """
    if not batch.schema.equals(schema):
        message = f"it has the columns {_named(batch.schema)}, not {_named(schema)}"
        raise ValueError(message)
    # full=True follows every offset and index: a damaged one would lead out of the buffers.
    batch.validate(full=True)
    lists = [name for name in schema.names if pa.types.is_list(schema.field(name).type)]
    _check_lengths(batch, lists, maximum=manifest.max_length)
    values = {
        name: batch[name].flatten() if name in lists else batch[name] for name in schema.names
    }
    if holed := [
        name for name in schema.names if batch[name].null_count + values[name].null_count
    ]:
        message = f"{holed[0]} has a null"
        raise ValueError(message)
    # min_count=0: of a single row all is True, not null.
    if not pc.all(pc.greater(batch["row_id"][1:], batch["row_id"][:-1]), min_count=0).as_py():
        message = "row_id does not rise: an id is there twice"
        raise ValueError(message)
    _check_range("input_ids", values["input_ids"], maximum=manifest.tokenizer.vocab_size - 1)
    for name, classes in (("label", manifest.labels), ("word_labels", manifest.word_labels)):
        if classes == NUMBER:
            _check_finite(name, values[name])
        elif classes is not None:
            scored = values[name].filter(pc.not_equal(values[name], NO_LABEL))
            _check_range(name, scored, maximum=len(classes) - 1)


def _check_lengths(batch: pa.RecordBatch, lists: list[str], *, maximum: int) -> None:
    lengths = pc.list_value_length(batch["input_ids"])
    _check_range("tokens of a row", lengths, minimum=1, maximum=maximum)
    for name in lists:
        if not pc.list_value_length(batch[name]).equals(lengths):
            message = f"{name} has not one entry for each token"
            raise ValueError(message)


def _check_finite(name: str, values: pa.Array) -> None:
    if not pc.all(pc.is_finite(values), min_count=0).as_py():
        message = f"{name}: a value is NaN or infinite"
        raise ValueError(message)


def _check_range(name: str, values: pa.Array, *, minimum: int = 0, maximum: int) -> None:
    extremes = pc.min_max(values).as_py()
    for value in (extremes["min"], extremes["max"]):
        if value is not None and not minimum <= value <= maximum:
            message = f"{name}: {value} is not in [{minimum}, {maximum}]"
            raise ValueError(message)


def _named(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema)
