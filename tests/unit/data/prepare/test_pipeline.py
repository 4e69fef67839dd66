import json
import os
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
from raykd.data.prepare.report import PrepareReport, Progress
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.errors import ConfigError, DataError, PublicationError
from raykd.storage import uris
from raykd.storage.published.directory import read_published, verify
from transformers import AutoTokenizer

from tests.prepared import word_tokenizer

Row = dict[str, object]


def _ignore(progress: Progress) -> None:
    assert progress.share is None or 0 <= progress.share <= 1


def _sentences(number: int, *, word: str = "word") -> list[str]:
    return [f"the {word} {index} of {index * 7 % 13} and {index % 5}" for index in range(number)]


def _json_lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def options(tmp_path: Path) -> PrepareOptions:
    """Return options for 3000 labelled rows in two languages."""
    rows: list[Row] = [
        {"text": text, "label": index % 3, "lang": "en" if index % 4 else "pt-BR"}
        for index, text in enumerate(_sentences(3000))
    ]
    _json_lines(tmp_path / "rows.jsonl", rows)
    return PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "rows.jsonl"),), validation_fraction=0.1),
        columns=ColumnOptions(label="label", language="lang"),
        tokenizer=TokenizerOptions(vocab_size=400),
        output_uri=str(tmp_path / "data"),
        max_length=16,
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
    report = prepare(options, on_progress=_ignore)
    manifest = read_manifest(options.output_uri)
    verify(read_published(options.output_uri, kind="data"))
    assert manifest == report.manifest
    assert manifest.languages == ("en", "pt-BR")
    assert manifest.labels == ("0", "1", "2")
    tokenizer = AutoTokenizer.from_pretrained(f"{options.output_uri}/tokenizer")
    assert tokenizer_info(tokenizer) == manifest.tokenizer
    tables = [_table(report, split) for split in ("train", "validation")]
    expected = row_schema(400, has_label=True, has_words=False, has_types=False)
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
    train = prepare(options, on_progress=_ignore).manifest.splits["train"]
    sizes = [rows for shard in train for rows in shard.batch_rows]
    assert len(sizes) >= 256
    assert max(sizes) == sum(sizes) // 256


def test_processes_and_repetition_do_not_change_a_byte(options: PrepareOptions) -> None:
    rows: list[Row] = [
        {"text": text, "label": index % 2, "lang": f"l{index % 7}"}
        for index, text in enumerate(_sentences(45_000))
    ]
    _json_lines(Path(options.sources.train[0]), rows)
    one = prepare(options, on_progress=_ignore)
    again = prepare(replace(options, overwrites=True), on_progress=_ignore)
    two = prepare(replace(options, num_processes=2, overwrites=True), on_progress=_ignore)
    assert one.parts == 3
    assert not any(report.was_done for report in (again, two))
    assert one.manifest == again.manifest == two.manifest


def test_the_same_command_again_finds_the_work_done(options: PrepareOptions) -> None:
    first = prepare(options, on_progress=_ignore)
    again = prepare(replace(options, num_processes=2), on_progress=_ignore)
    assert again.was_done
    assert again.manifest == first.manifest


def test_other_options_need_a_decision(options: PrepareOptions) -> None:
    prepare(options, on_progress=_ignore)
    other = replace(options, max_length=8)
    with pytest.raises(ConfigError, match=r"max_length: 16, not 8.*--overwrite"):
        prepare(other, on_progress=_ignore)
    report = prepare(replace(other, overwrites=True), on_progress=_ignore)
    assert report.manifest.max_length == 8


def test_a_source_that_holds_something_else_is_prepared_again(options: PrepareOptions) -> None:
    first = prepare(options, on_progress=_ignore)
    source = Path(options.sources.train[0])
    before = source.stat()
    source.write_text(source.read_text().replace('"label": 1', '"label": 0'))
    # As mv and rsync leave it: of the same size, and older than what was prepared.
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns - 10**12))
    assert source.stat().st_size == before.st_size
    again = prepare(options, on_progress=_ignore)
    assert again.was_changed
    assert again.manifest.fingerprint != first.manifest.fingerprint
    assert prepare(options, on_progress=_ignore).was_done


def test_the_same_sources_at_another_place_find_the_work_done(
    options: PrepareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(options, on_progress=_ignore)
    source = Path(options.sources.train[0])
    copy = tmp_path / "elsewhere" / source.name
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    os.utime(copy, (0, 0))
    monkeypatch.chdir(copy.parent)
    for place in (str(copy), copy.name, f"./{copy.name}"):
        moved = replace(options, sources=replace(options.sources, train=(place,)))
        assert prepare(moved, on_progress=_ignore).was_done


def test_other_sources_need_a_decision(options: PrepareOptions, tmp_path: Path) -> None:
    prepare(options, on_progress=_ignore)
    other = tmp_path / "other.jsonl"
    _json_lines(other, [{"text": "another", "label": 1, "lang": "en"}] * 3)
    with pytest.raises(ConfigError, match=r"prepared from other sources; .*--overwrite"):
        prepare(
            replace(options, sources=replace(options.sources, train=(str(other),))),
            on_progress=_ignore,
        )


def test_another_tokenizer_at_the_same_place_prepares_again(
    options: PrepareOptions, tmp_path: Path
) -> None:
    place = tmp_path / "tokenizer"
    given = replace(options, tokenizer=TokenizerOptions(source=str(place)))
    found = []
    for size in (300, 301):
        word_tokenizer(size).save_pretrained(place)
        found.append(prepare(given, on_progress=_ignore))
    assert found[1].was_changed
    assert len({report.manifest.tokenizer.fingerprint for report in found}) == 2


def test_files_of_others_are_never_replaced(options: PrepareOptions) -> None:
    Path(options.output_uri).mkdir()
    Path(options.output_uri, "thesis.tex").touch()
    with pytest.raises(PublicationError, match=r"holds thesis\.tex, which raykd has not"):
        prepare(options, on_progress=_ignore)
    assert Path(options.output_uri, "thesis.tex").exists()


class _KilledError(Exception):
    pass


def test_a_second_start_reuses_finished_parts(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("\n".join(_sentences(100_000)))
    options = PrepareOptions(
        sources=SourceOptions(train=(str(text),)),
        tokenizer=TokenizerOptions(vocab_size=400),
        output_uri=str(tmp_path / "data"),
        packs=True,
    )

    def kill(progress: Progress) -> None:
        if progress.stage == "tokenising":
            raise _KilledError

    with pytest.raises(_KilledError):
        prepare(options, on_progress=kill)
    assert not Path(options.output_uri).exists()
    resumed = prepare(options, on_progress=_ignore)
    assert 0 < resumed.reused_parts < resumed.parts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "data"]
    smooth = prepare(replace(options, overwrites=True, num_processes=2), on_progress=_ignore)
    assert smooth.reused_parts == 0
    assert smooth.manifest.fingerprint == resumed.manifest.fingerprint


def test_bad_input_leaves_nothing_and_is_read_anew_when_mended(tmp_path: Path) -> None:
    good = tmp_path / "a.jsonl"
    _json_lines(good, [{"text": text} for text in _sentences(21_000)])
    bad = tmp_path / "b.jsonl"
    bad.write_text('{"txt": "other"}\n')
    options = PrepareOptions(
        sources=SourceOptions(train=(str(good), str(bad))),
        columns=ColumnOptions(),
        tokenizer=TokenizerOptions(source=str(_saved_vocabulary(tmp_path))),
        output_uri=str(tmp_path / "data"),
    )
    with pytest.raises(DataError, match=r"b\.jsonl: has no column 'text'"):
        prepare(options, on_progress=_ignore)
    assert not list(tmp_path.glob(".data*"))
    _json_lines(bad, [{"text": "repaired"}])
    report = prepare(options, on_progress=_ignore)
    assert (report.reused_parts, report.examples) == (0, 21_001)
    assert not list(tmp_path.glob(".data.prepare-*"))


def _saved_vocabulary(directory: Path) -> Path:
    path = directory / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "word"]))
    return path


def test_packed_documents_keep_every_token_in_order(tmp_path: Path) -> None:
    texts = {"en": _sentences(300), "de": _sentences(200, word="wort")}
    rows: list[Row] = [{"text": text, "lang": code} for code in texts for text in texts[code]]
    _json_lines(tmp_path / "rows.jsonl", rows)
    options = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "rows.jsonl"),)),
        columns=ColumnOptions(language="lang"),
        tokenizer=TokenizerOptions(vocab_size=400),
        output_uri=str(tmp_path / "data"),
        max_length=32,
        packs=True,
    )
    report = prepare(options, on_progress=_ignore)
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
    report = prepare(replace(options, labels=("2", "0")), on_progress=_ignore)
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
        tokenizer=TokenizerOptions(source=str(_saved_vocabulary(tmp_path))),
    )
    labels = replace(options, columns=ColumnOptions(label="label"))
    report = prepare(labels, on_progress=_ignore)
    assert report.manifest.labels == ("positive", "neutral", "negative")
    assert [row["label"] for row in _table(report, "train").to_pylist()] == [2, 0, 2]
    assert [(one.what, one.count) for one in report.rejected] == [("missing label", 1)]
    columns = ColumnOptions(words="words", word_labels="tags")
    words = replace(options, columns=columns, output_uri=str(tmp_path / "words"))
    report = prepare(words, on_progress=_ignore)
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
    _json_lines(tmp_path / "b.jsonl", others)
    options = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "a.parquet"), str(tmp_path / "b.jsonl"))),
        columns=ColumnOptions(label="label"),
        tokenizer=TokenizerOptions(source=str(_saved_vocabulary(tmp_path))),
        output_uri=str(tmp_path / "data"),
    )
    manifest = prepare(options, on_progress=_ignore).manifest
    assert manifest.labels == ("z", "a", "2.5", "9", "10")


def test_pairs_and_words_have_their_columns(tmp_path: Path) -> None:
    vocabulary = TokenizerOptions(source=str(_saved_vocabulary(tmp_path)))
    _json_lines(tmp_path / "pairs.jsonl", [{"a": "the", "b": "word", "l": "yes"}])
    pairs = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "pairs.jsonl"),)),
        columns=ColumnOptions(text="a", text_pair="b", label="l"),
        tokenizer=vocabulary,
        output_uri=str(tmp_path / "pairs"),
    )
    report = prepare(pairs, on_progress=_ignore)
    (row,) = _table(report, "train").to_pylist()
    assert row == {
        "input_ids": [2, 5, 3, 6, 3],
        "row_id": 0,
        "language": "und",
        "label": 0,
        "token_type_ids": [0, 0, 0, 1, 1],
    }
    assert report.manifest.has_token_types
    _json_lines(tmp_path / "words.jsonl", [{"w": ["the", "word"], "l": ["O", "B-X"]}])
    words = replace(
        pairs,
        sources=SourceOptions(train=(str(tmp_path / "words.jsonl"),)),
        columns=ColumnOptions(words="w", word_labels="l"),
        output_uri=str(tmp_path / "words"),
    )
    report = prepare(words, on_progress=_ignore)
    (row,) = _table(report, "train").to_pylist()
    assert row["word_labels"] == [-100, 1, 0, -100]
    assert report.manifest.word_labels == ("B-X", "O")
    assert report.manifest.labels is None


def test_a_remote_output_is_published_and_found_again(
    options: PrepareOptions, s3_uri: str
) -> None:
    remote = replace(options, output_uri=f"{s3_uri}/data")
    local = prepare(options, on_progress=_ignore)
    assert prepare(remote, on_progress=_ignore).manifest.fingerprint == local.manifest.fingerprint
    assert prepare(remote, on_progress=_ignore).was_done


def test_remote_sources_are_read(options: PrepareOptions, s3_uri: str, tmp_path: Path) -> None:
    content = Path(options.sources.train[0]).read_bytes()
    uris.write_bytes(f"{s3_uri}/raw/one/rows.jsonl", content)
    remote = replace(options, sources=SourceOptions(train=(f"{s3_uri}/raw",)))
    assert prepare(remote, on_progress=_ignore).examples == 3000


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
        tokenizer=TokenizerOptions(source=str(_saved_vocabulary(tmp_path))),
        output_uri=str(tmp_path / "data"),
    )
    with pytest.raises(DataError, match=message):
        prepare(options, on_progress=_ignore)
    untrained = replace(options, tokenizer=TokenizerOptions())
    with pytest.raises(DataError, match="no rows are left"):
        prepare(untrained, on_progress=_ignore)


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
        prepare(replace(options, task="masked_lm", tokenizer=maskless), on_progress=_ignore)


def test_a_language_column_that_holds_texts_is_refused(options: PrepareOptions) -> None:
    wrong = replace(options, columns=ColumnOptions(language="text"))
    with pytest.raises(DataError, match="--language-column: 3000 different languages"):
        prepare(wrong, on_progress=_ignore)


def test_all_problems_of_the_options_are_told_at_once(options: PrepareOptions) -> None:
    wrong = replace(options, max_length=2, num_processes=0, packs=True, sources=SourceOptions())
    with pytest.raises(ConfigError) as raised:
        prepare(wrong, on_progress=_ignore)
    for name in ("SOURCES", "--max-length", "--num-processes", "--pack"):
        assert name in str(raised.value)
