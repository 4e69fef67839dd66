import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from raykd.config.schema.prepare import (
    ColumnOptions,
    PrepareOptions,
    SourceOptions,
    TokenizerOptions,
)
from raykd.data.manifest import read_manifest, row_schema
from raykd.data.prepare.pipeline import prepare
from raykd.data.prepare.report import PrepareReport
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.errors import ConfigError, DataError
from raykd.storage import uris
from raykd.storage.published.directory import read_published, verify
from transformers import AutoTokenizer

from tests.unit.data.prepare.small_sources import (
    Row,
    ignore,
    json_lines,
    saved_vocabulary,
    sentences,
)


def _table(report: PrepareReport, split: str) -> pa.Table:
    """Return all rows of a split, having compared the files with what the manifest says."""
    tables = []
    for shard in report.manifest.splits[split]:
        with uris.open_arrow(f"{report.manifest.uri}/{shard.path}") as source:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
            assert tuple(batch.num_rows for batch in batches) == shard.batch_rows
            tables.append(pa.Table.from_batches(batches))
        assert set(tables[-1]["language"].to_pylist()) == {shard.language}
        assert sum(map(len, tables[-1]["input_ids"].to_pylist())) == shard.tokens
    return pa.concat_tables(tables, promote_options="permissive")


def test_a_data_set_holds_every_row_as_its_manifest_says(options: PrepareOptions) -> None:
    report = prepare(options, on_progress=ignore)
    manifest = read_manifest(options.output_uri)
    verify(read_published(options.output_uri, kind="data"))
    assert manifest == report.manifest
    assert manifest.languages == ("en", "pt-BR")
    assert manifest.labels == ("0", "1", "2")
    tokenizer = AutoTokenizer.from_pretrained(f"{options.output_uri}/tokenizer")
    assert tokenizer_info(tokenizer) == manifest.tokenizer
    tables = [_table(report, split) for split in ("train", "validation")]
    expected = row_schema(400, labels=("a",), has_words=False, has_types=False)
    assert tables[0].schema.remove_metadata() == expected
    rows = [row for table in tables for row in table.to_pylist()]
    assert sorted(row["row_id"] for row in rows) == list(range(3000))
    assert max(len(row["input_ids"]) for row in rows) == manifest.max_length
    found = Counter(
        (
            tokenizer.decode(row["input_ids"], skip_special_tokens=True),
            row["label"],
            row["language"],
        )
        for row in rows
    )
    sources = [
        json.loads(line) for line in Path(options.sources.train[0]).read_text().splitlines()
    ]
    assert found == Counter((row["text"], row["label"], row["lang"]) for row in sources)


def test_small_splits_have_many_small_record_batches(options: PrepareOptions) -> None:
    train = prepare(options, on_progress=ignore).manifest.splits["train"]
    sizes = [rows for shard in train for rows in shard.batch_rows]
    assert len(sizes) >= 256
    assert max(sizes) == sum(sizes) // 256


def test_packed_documents_keep_every_token_in_order(tmp_path: Path) -> None:
    texts = {"en": sentences(300), "de": sentences(200, word="wort")}
    rows: list[Row] = [{"text": text, "lang": code} for code in texts for text in texts[code]]
    json_lines(tmp_path / "rows.jsonl", rows)
    options = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "rows.jsonl"),)),
        columns=ColumnOptions(language="lang"),
        tokenizer=TokenizerOptions(vocab_size=400),
        output_uri=str(tmp_path / "data"),
        max_length=32,
        packs=True,
    )
    report = prepare(options, on_progress=ignore)
    tokenizer = load_tokenizer(options.output_uri)
    table = _table(report, "train").to_pylist()
    for code, documents in texts.items():
        rows_of_code = [row["input_ids"] for row in table if row["language"] == code]
        assert {len(row) for row in rows_of_code[:-1]} == {32}
        body = [token for row in rows_of_code for token in row[1:-1]]
        ids = tokenizer(documents, add_special_tokens=False)["input_ids"]
        joined = [token for one in ids for token in (tokenizer.sep_token_id, *one)]
        assert body == joined[1:]


def test_given_labels_decide_ids_and_rejections(options: PrepareOptions) -> None:
    report = prepare(replace(options, labels=("2", "0")), on_progress=ignore)
    assert report.manifest.labels == ("2", "0")
    (rejected,) = report.rejected
    assert (rejected.what, rejected.count) == ("label outside the set", 1000)
    assert rejected.first == f"{options.sources.train[0]}: line 2"
    assert report.examples == 2000


def test_the_order_of_class_labels_is_kept(options: PrepareOptions, tmp_path: Path) -> None:
    label = datasets.ClassLabel(names=["positive", "neutral", "negative"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": label,
            "words": datasets.List(datasets.Value("string")),
            "tags": datasets.List(label),
        }
    )
    rows = {
        "text": ["the word", "a word", "the", "word"],
        "label": [2, 0, -1, 2],
        "words": [["the", "word"]] * 4,
        "tags": [[2, -1], [-1, 0], [2, 2], [-1, -1]],
    }
    path = tmp_path / "rows.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    options = replace(
        options,
        sources=SourceOptions(train=(str(path),)),
        tokenizer=TokenizerOptions(source=str(saved_vocabulary(tmp_path))),
    )
    labels = replace(options, columns=ColumnOptions(label="label"))
    report = prepare(labels, on_progress=ignore)
    assert report.manifest.labels == ("positive", "neutral", "negative")
    assert [row["label"] for row in _table(report, "train").to_pylist()] == [2, 0, 2]
    assert [(one.what, one.count) for one in report.rejected] == [("missing label", 1)]
    columns = ColumnOptions(words="words", word_labels="tags")
    words = replace(options, columns=columns, output_uri=str(tmp_path / "words"))
    report = prepare(words, on_progress=ignore)
    assert report.manifest.word_labels == ("positive", "neutral", "negative")
    assert [row["word_labels"][1:-1] for row in _table(report, "train").to_pylist()] == [
        [2, -100],
        [-100, 0],
        [2, 2],
    ]
    assert [(one.what, one.count) for one in report.remarks] == [
        ("words without a label, not scored", 2)
    ]


def test_other_labels_follow_those_that_a_source_lists(tmp_path: Path) -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["z", "a"])}
    )
    rows = {"text": ["the", "word"], "label": [1, 0]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    others: list[Row] = [{"text": "the", "label": label} for label in ("10", "9", "a", "2.5")]
    json_lines(tmp_path / "b.jsonl", others)
    options = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl"))),
        columns=ColumnOptions(label="label"),
        tokenizer=TokenizerOptions(source=str(saved_vocabulary(tmp_path))),
        output_uri=str(tmp_path / "data"),
    )
    manifest = prepare(options, on_progress=ignore).manifest
    assert manifest.labels == ("z", "a", "2.5", "9", "10")


def test_pairs_and_words_have_their_columns(tmp_path: Path) -> None:
    vocabulary = TokenizerOptions(source=str(saved_vocabulary(tmp_path)))
    json_lines(tmp_path / "pairs.jsonl", [{"a": "the", "b": "word", "l": "yes"}])
    pairs = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "pairs.jsonl"),)),
        columns=ColumnOptions(text="a", text_pair="b", label="l"),
        tokenizer=vocabulary,
        output_uri=str(tmp_path / "pairs"),
    )
    report = prepare(pairs, on_progress=ignore)
    (row,) = _table(report, "train").to_pylist()
    assert row == {
        "input_ids": [2, 5, 3, 6, 3],
        "row_id": 0,
        "language": "und",
        "label": 0,
        "token_type_ids": [0, 0, 0, 1, 1],
    }
    assert report.manifest.has_token_types
    json_lines(tmp_path / "words.jsonl", [{"w": ["the", "word"], "l": ["O", "B-X"]}])
    words = replace(
        pairs,
        sources=SourceOptions(train=(str(tmp_path / "words.jsonl"),)),
        columns=ColumnOptions(words="w", word_labels="l"),
        output_uri=str(tmp_path / "words"),
    )
    report = prepare(words, on_progress=ignore)
    (row,) = _table(report, "train").to_pylist()
    assert row["word_labels"] == [-100, 1, 0, -100]
    assert report.manifest.word_labels == ("B-X", "O")
    assert report.manifest.labels is None


def test_a_remote_output_is_published_and_found_again(
    options: PrepareOptions, s3_uri: str
) -> None:
    remote = replace(options, output_uri=f"{s3_uri}/data")
    local = prepare(options, on_progress=ignore)
    assert prepare(remote, on_progress=ignore).manifest.fingerprint == local.manifest.fingerprint
    assert prepare(remote, on_progress=ignore).was_done


def test_remote_sources_are_read(options: PrepareOptions, s3_uri: str, tmp_path: Path) -> None:
    content = Path(options.sources.train[0]).read_bytes()
    uris.write_bytes(f"{s3_uri}/raw/one/rows.jsonl", content)
    remote = replace(options, sources=SourceOptions(train=(f"{s3_uri}/raw",)))
    assert prepare(remote, on_progress=ignore).examples == 3000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows are left to train on: every source is empty"),
        ("\n  \n", r"all were rejected: 2 empty text \(first: .*a\.txt: line 1\)"),
    ],
)
def test_nothing_to_train_on_is_one_clear_error(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "a.txt").write_text(content)
    options = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "a.txt"),)),
        tokenizer=TokenizerOptions(source=str(saved_vocabulary(tmp_path))),
        output_uri=str(tmp_path / "data"),
    )
    with pytest.raises(DataError, match=message):
        prepare(options, on_progress=ignore)
    untrained = replace(options, tokenizer=TokenizerOptions())
    with pytest.raises(DataError, match="no rows are left"):
        prepare(untrained, on_progress=ignore)


def test_masked_lm_needs_a_mask_token(options: PrepareOptions, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe")
    tokenizer = load_tokenizer(str(tmp_path / "vocab.txt"))
    backend = tokenizer.backend_tokenizer.to_str()
    assert "[MASK]" in backend
    state = json.loads(backend)
    state["added_tokens"] = [one for one in state["added_tokens"] if one["content"] != "[MASK]"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    maskless = TokenizerOptions(source=str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match=r"--task masked_lm: .*has no mask token"):
        prepare(replace(options, task="masked_lm", tokenizer=maskless), on_progress=ignore)


def test_a_language_column_that_holds_texts_is_refused(options: PrepareOptions) -> None:
    wrong = replace(options, columns=ColumnOptions(language="text"))
    with pytest.raises(DataError, match="--language-column: 3000 different languages"):
        prepare(wrong, on_progress=ignore)


def test_all_problems_of_the_options_are_told_at_once(options: PrepareOptions) -> None:
    wrong = replace(options, max_length=2, num_processes=0, packs=True, sources=SourceOptions())
    with pytest.raises(ConfigError) as raised:
        prepare(wrong, on_progress=ignore)
    for name in ("SOURCES", "--max-length", "--num-processes", "--pack"):
        assert name in str(raised.value)
