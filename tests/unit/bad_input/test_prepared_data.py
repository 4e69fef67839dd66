"""Prepared data that was changed behind raykd's back, as runs meet it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows
from tests.unit.bad_input.spoiling import Spoil, content, cut, removed, resealed, seal, written

_TRAIN = "train run.yaml"
_SHARD = "data/train/de-00000.arrow"
_BEGUN = ("run.yaml", "inputs.json", "metrics.jsonl")


def _rewritten(change: Callable[[pa.Table], pa.Table]) -> Spoil:
    """Return what writes a shard again with other rows in as many record batches."""

    def spoil() -> None:
        reader = pa.ipc.open_file(pa.BufferReader(Path(_SHARD).read_bytes()))
        batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        changed = [change(pa.Table.from_batches([batch])) for batch in batches]
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, changed[0].schema) as writer:
            for table in changed:
                writer.write_batch(table.combine_chunks().to_batches()[0])
        Path(_SHARD).write_bytes(sink.getvalue())

    return spoil


def _with(name: str, values: Callable[[list[Any]], list[Any]]) -> Spoil:
    """Return what replaces the values of a column."""

    def change(table: pa.Table) -> pa.Table:
        index, kind = table.schema.get_field_index(name), table.schema.field(name).type
        return table.set_column(index, name, pa.array(values(table[name].to_pylist()), kind))

    return _rewritten(change)


def _cut_manifest() -> None:
    path = Path("data/manifest.json")
    seal(path, path.read_bytes()[:100])


def _manifest(name: str, spoil: Spoil, *needles: str) -> Bad:
    return bad(name, _TRAIN, "data", *needles, spoil=spoil)


def _content(key: str, value: Any, *needles: str) -> Bad:
    again = "prepare the data again"
    return bad(f"{key}={value!r}", _TRAIN, *needles, again, spoil=content(key, value))


_MANIFESTS = [
    _manifest("no-manifest", removed("data/manifest.json"), "holds no committed data directory"),
    _manifest("no-commit", removed("data/COMMITTED"), "holds no committed data directory"),
    _manifest("cut", cut("data/manifest.json", 100), "is not the manifest that was committed"),
    _manifest("cut-and-sealed", _cut_manifest, "data/manifest.json: is no manifest"),
    _manifest("array", resealed(lambda _: [1]), "data/manifest.json: is no manifest"),
    _manifest(
        "future", resealed(lambda m: m | {"schema_version": 99}), "of schema 99, but a data"
    ),
    _manifest("model", resealed(lambda m: m | {"kind": "model"}), "is a model directory"),
    _manifest("no-files", resealed(lambda m: m.pop("files") and m), "is no manifest", "'files'"),
    _manifest("no-content", resealed(lambda m: m | {"content": 3}), "data/manifest.json: "),
    _manifest(
        "file-outside",
        resealed(lambda m: m | {"files": {"../x": {"bytes": 1, "sha256": "x"}}}),
        "'../x', which is outside of the directory",
    ),
    _manifest("no-train", content("splits", {}), "has no split 'train'; it has []"),
    bad("no-data", f"{_TRAIN} data.uri=nowhere", "nowhere: holds no committed data directory"),
    bad("a-model", f"{_TRAIN} data.uri=teacher", "teacher: holds no committed data directory"),
]

_CONTENTS = [
    _content("max_length", "x", "max_length is 'x', not a whole number"),
    _content("max_length", 0, "max_length is 0, not a whole number in [1, "),
    _content("max_length", True, "max_length is True"),
    _content("languages", None, "languages is None, not a list"),
    _content("languages", ["de", "de"], "languages is ['de', 'de'], not a list without rep"),
    _content("languages", ["en"], "language is 'de', which is none of languages"),
    _content("tokenizer", {}, "tokenizer lacks 'fingerprint'"),
    _content("tokenizer.vocab_size", -1, "tokenizer.vocab_size is -1, not a whole number"),
    _content("tokenizer.mask_id", 64, "tokenizer.mask_id is 64, not a whole number in [0, 64)"),
    _content("tokenizer.pad_id", "0", "tokenizer.pad_id is '0'"),
    _content("labels", "abc", "labels is 'abc', not a list"),
    _content("labels", [1, 2], "labels[0] is 1, not a text"),
    _content("has_token_types", "no", "has_token_types is 'no', not true or false"),
    _content("splits", [], "splits is [], not an object"),
    _content("splits.train", {}, "splits.train is {}, not a list"),
    _content("splits.train.0", {"path": "x"}, "splits.train[0] lacks 'language'"),
    _content("splits.train.0.batch_rows", [5, -1], "splits.train[0].batch_rows[1] is -1"),
    _content("splits.train.0.tokens", None, "splits.train[0].tokens is None"),
    _content("surprise", 1, "content has the unknown field 'surprise'"),
    *[
        _content("splits.train.0.path", path, "splits.train[0].path is ", "a path inside")
        for path in (
            "../data/train/de-00000.arrow",
            "/etc/passwd",
            "s3://bucket/x.arrow",
            "train/../../x",
            "C:/x",
            "train\\..\\x",
            "./x",
        )
    ],
]


def _shard(name: str, spoil: Spoil, *needles: str) -> Bad:
    hint = "prepare the data again"
    where = "data/train/de-00000.arrow: "
    return bad(name, _TRAIN, where, *needles, hint, spoil=spoil, leaves=_BEGUN)


def _first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda found: [value, *found[1:]]


_SHARDS = [
    _shard("missing", removed(_SHARD), "is missing, but the manifest names it"),
    _shard("nothing", written(_SHARD, ""), "cannot be read: File is too small: 0"),
    _shard("other", written(_SHARD, "x" * 5000), "cannot be read: Not an Arrow file"),
    _shard("torn", cut(_SHARD, 500), "cannot be read: Not an Arrow file"),
    _shard(
        "id",
        _with("input_ids", lambda found: [[64, *found[0][1:]], *found[1:]]),
        "input_ids: 64 is not in [0, 63]",
    ),
    _shard("label", _with("label", _first(3)), "label: 3 is not in [0, 2]"),
    _shard("label-below", _with("label", _first(-1)), "label: -1 is not in [0, 2]"),
    _shard("no-label", _with("label", _first(None)), "label has a null"),
    _shard("empty-row", _with("input_ids", _first([])), "tokens of a row: 0 is not in [1, 16]"),
    _shard("long-row", _with("input_ids", _first([5] * 17)), "tokens of a row: 17 is not in"),
    _shard("ragged", _with("word_labels", _first([1])), "word_labels has not one entry for each"),
    _shard("same-id", _with("row_id", lambda ids: [ids[1], *ids[1:]]), "an id is there twice"),
    _shard("fewer", _rewritten(lambda table: table.slice(1)), "rows, but the manifest says"),
    _shard(
        "column", _rewritten(lambda table: table.drop(["label"])), "it has the columns input_ids"
    ),
    _shard(
        "renamed",
        _rewritten(lambda t: t.rename_columns(["tokens", *t.column_names[1:]])),
        "it has the columns tokens (list",
    ),
]

_USES = [
    bad("split", f"{_TRAIN} data.train_split=test", "has no split 'test'; it has ['train', 'val"),
    bad("eval-split", f"{_TRAIN} data.eval_split=test", "has no split 'test'"),
    bad("test-split", f"{_TRAIN} data.test_split=test", "has no split 'test'"),
    bad("language", f"{_TRAIN} 'data.languages=[fr]'", "['fr'] have no rows in split 'train'"),
    bad(
        "weights",
        f"{_TRAIN} 'data.mixing.fixed.weights={{de: 1}}'",
        "must name the languages ['de', 'en']",
    ),
    bad(
        "evaluate", "evaluate data", "data: is no run: it holds no run.yaml", "raykd train printed"
    ),
]


@rows([*_MANIFESTS, *_CONTENTS, *_SHARDS, *_USES])
def test_data_that_was_changed_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)
