from pathlib import Path

import pytest
from raykd.cli.commands import prepare
from raykd.cli.main import parse
from raykd.data.manifest import read_manifest
from raykd.errors import ConfigError


def _run(*arguments: str) -> int:
    return prepare.run(parse(["prepare", *arguments]))


def test_the_names_demo_prepares_a_classification_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = str(tmp_path / "names")
    assert _run("--demo", "cldr-names", "--output", uri, "--num-processes", "1") == 0
    manifest = read_manifest(uri)
    assert len(manifest.languages) >= 25
    assert manifest.labels is not None
    assert {"language", "territory", "script", "currency", "month", "weekday"} <= set(
        manifest.labels
    )
    assert manifest.max_length <= 32
    assert {shard.language for shard in manifest.splits["validation"]} == set(manifest.languages)
    printed = capsys.readouterr().out
    rows = sum(shard.rows for shard in manifest.splits["train"])
    assert f"{rows:,} rows" in printed
    assert "tokens/s" in printed
    assert uri in printed
    assert _run("--demo", "cldr-names", "--output", uri) == 0
    assert "is there already" in capsys.readouterr().out


def test_the_documentation_demo_is_packed_english(tmp_path: Path) -> None:
    uri = str(tmp_path / "docs")
    assert _run("--demo", "stdlib-docs", "--output", uri, "--num-processes", "1") == 0
    manifest = read_manifest(uri)
    assert manifest.languages == ("en",)
    assert (manifest.max_length, manifest.tokenizer.vocab_size) == (128, 8000)
    lengths = {split: sum(s.rows for s in shards) for split, shards in manifest.splits.items()}
    assert lengths["train"] > 3000
    assert lengths["validation"] > 100


def test_rejected_rows_are_printed_with_their_first_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes(b"one line\n\nbad \xff bytes\nanother line\n")
    arguments = ("--vocab-size", "300", "--output", str(tmp_path / "out"), "--language", "en")
    assert _run(str(source), "--num-processes", "1", *arguments) == 0
    printed = capsys.readouterr().out
    assert f"1 rows: empty text (first: {source}: line 2)" in printed
    assert f"1 rows: undecodable bytes (first: {source}: line 3)" in printed
    assert "languages    1: en" in printed


def test_what_rows_lack_is_printed_with_its_first_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"w": ["a", "b"], "l": ["O", "X"]}\n{"w": ["b", "a"], "l": ["O", null]}\n')
    columns = ("--word-column", "w", "--word-label-column", "l", "--num-processes", "1")
    arguments = ("--vocab-size", "300", "--output", str(tmp_path / "out"))
    assert _run(str(source), *columns, *arguments) == 0
    printed = capsys.readouterr().out
    assert f"noted        1 words without a label, not scored (first: {source}: line 2)" in printed
    assert "noted        no entity F1: class 'X' is not O, and begins with none of" in printed


def test_given_labels_are_names_as_those_of_a_file(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("text,label\ngood,1.0\nbad, 0\nwhat,\n")
    arguments = ("--vocab-size", "300", "--output", str(tmp_path / "out"), "--num-processes", "1")
    labels = ("--label-column", "label", "--labels", "1.0, 0")
    assert _run(str(source), *labels, *arguments) == 0
    manifest = read_manifest(str(tmp_path / "out"))
    assert manifest.labels == ("1.0", "0")
    assert sum(shard.rows for shard in manifest.splits["train"]) == 2


def test_every_split_is_prepared_from_its_own_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, texts in {"a": 4, "b": 3, "c": 2, "d": 1}.items():
        rows = "".join(f"{name} {number},{number % 2}\n" for number in range(texts))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}")
    a, b, c, d = (str(tmp_path / f"{name}.csv") for name in "abcd")
    arguments = ["--vocab-size", "300", "--label-column", "label", "--num-processes", "1"]
    arguments += ["--output", str(tmp_path / "out")]
    assert _run(a, "--validation", b, "--split", f"test={c}", d, *arguments) == 0
    manifest = read_manifest(str(tmp_path / "out"))
    counts = {split: sum(s.rows for s in shards) for split, shards in manifest.splits.items()}
    assert counts == {"train": 4, "validation": 3, "test": 3}
    assert manifest.labels == ("0", "1")
    capsys.readouterr()
    same = ["--split", f"test={c}", "--split", f"validation={b}", "--split", f"test={d}"]
    assert _run(a, *same, *arguments) == 0
    assert "is there already, prepared with these options" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="was prepared from other sources; replace it with"):
        _run(a, "--validation", b, "--split", f"test={c}", *arguments)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("test", "--split test: give it as NAME=SOURCES, such as test=data/test.parquet"),
        ("test=", "--split test=: give it as NAME=SOURCES"),
        ("train=y.txt", "--split train=...: name what to train on as SOURCES"),
        ("a/b=y.txt", "--split: the name of a split must consist of .*, got 'a/b'"),
        ("=y.txt", "--split: the name of a split must consist of .*, got ''"),
    ],
)
def test_a_split_needs_a_name_of_its_own_and_sources(
    tmp_path: Path, given: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        _run("x.txt", "--split", given, "--output", str(tmp_path / "out"))


def test_contradictory_arguments_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name either SOURCES or --demo"):
        _run("x.txt", "--demo", "cldr-names", "--output", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="--labels needs --label-column"):
        _run("x.txt", "--labels", "a,b", "--output", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="--address auto is of no use without --distributed"):
        _run("x.txt", "--address", "auto", "--output", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="--demo has its own splits: it excludes test"):
        _run("--demo", "cldr-names", "--split", "test=x.txt", "--output", str(tmp_path / "out"))
    arguments = ("--validation-fraction", "0.1", "--output", str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="--validation excludes --validation-fraction"):
        _run("x.txt", "--split", "validation=y.txt", *arguments)
