"""Texts that cannot be prepared, and arguments of ``raykd prepare`` that cannot be."""

import json
import shlex
from pathlib import Path

import pytest
from raykd.cli.main import main

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows
from tests.unit.bad_input.spoiling import Spoil, in_turn, written

_NO_TEXT = "no rows are left to train a tokenizer on"
_WRONG_BYTES = bytes(range(128, 256)) * 20
_MEGABYTES = 10_000_000


def _command(arguments: str) -> str:
    return f"prepare {arguments} --output out --num-processes 1 --vocab-size 300"


def _file(
    name: str, text: str | bytes, *needles: str, arguments: str = "", label: str = ""
) -> Bad:
    """Return a row about one file."""
    return bad(label or name, _command(f"{name} {arguments}"), *needles, spoil=written(name, text))


_FILES = [
    _file("empty.jsonl", "", _NO_TEXT, "give other sources"),
    _file("spaces.txt", "  \n\n \n", _NO_TEXT),
    _file("binary.txt", _WRONG_BYTES, _NO_TEXT, "UTF-8"),
    _file("binary.jsonl", _WRONG_BYTES, "binary.jsonl: line 1: no JSON: Expecting value"),
    _file("binary.csv", b"text\n" + _WRONG_BYTES, "no rows are left"),
    _file("binary.parquet", _WRONG_BYTES, "binary.parquet: cannot be read as parquet", "mend"),
    _file("binary.arrow", _WRONG_BYTES, "binary.arrow: cannot be read as arrow: "),
    _file("no.txt.gz", "text", "no.txt.gz: cannot be read as text: Not a gzipped file"),
    _file("no.txt.bz2", "text", "no.txt.bz2: cannot be read as text: Invalid data stream"),
    _file("no.jsonl.xz", "text", "no.jsonl.xz: cannot be read as json: Input format not supp"),
    _file("cut.txt.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xab", "cut.txt.gz: cannot be read as text"),
    _file("ragged.csv", "text,label\nc,d,e\n", "ragged.csv: line 2: 3 fields, not 2 as in the"),
    _file(
        "quote.csv", 'text,label\n"a,b\nc\n', "quote.csv: line 2: no CSV record: unexpected end"
    ),
    _file("quoted.tsv", '"text"\na\n', "quoted.tsv: has no column 'text'", "--quoting"),
    _file("twice.csv", "text,text\na,b\n", "twice.csv: has 2 columns 'text'"),
    _file("marks.csv", '"text\na\n', "marks.csv: line 1, which names the columns: no CSV record"),
    _file("utf-16.txt", "one two\n".encode("utf-16-le"), "it is UTF-16 without a byte order mark"),
    _file("header.csv", "text,label\n", _NO_TEXT),
    _file("other.csv", "body,label\na,b\n", "has no column 'text', it has body, label"),
    _file("close.jsonl", '{"texts": "a"}\n', "it has texts; did you mean 'texts'?"),
    _file("lists.jsonl", '{"text": ["a"]}\n', "line 1: column 'text' holds a list, not text"),
    _file("number.jsonl", '{"text": 3}\n', "line 1: column 'text' holds a number, not text"),
    _file("scalars.jsonl", "1\n2\n", "scalars.jsonl: line 1: JSON that is no object"),
    _file("array.json", "[1, 2]", "array.json: line 1: JSON that is no object"),
    _file("object.json", '{"a": {"b": 1}}', "object.json: has no column 'text', it has a"),
    _file(
        "cut.json",
        '[{"text": "a"}, {"te',
        "cut.json: line 1: what follows in the array is no JSON",
    ),
    _file("cut.jsonl", '\n{"text": "b', "cut.jsonl: line 2: no JSON: Unterminated string"),
    _file(
        "deep.jsonl", '{"text": ' + "[" * 100_000, "deep.jsonl: line 1: JSON that is nested too"
    ),
    _file(
        "long.jsonl",
        '\n{"text": "' + "x" * _MEGABYTES + "\n",
        "long.jsonl: line 2: no JSON: Unterminated string",
    ),
    _file(
        "long.csv",
        'text\n"' + "x y " * (_MEGABYTES // 4) + "\n",
        "long.csv: line 2: ",
        "unexpected end",
    ),
    _file("long-header.csv", "x" * _MEGABYTES + "\na\n", "long-header.csv: has no column"),
    _file("x.pdf", "x", "x.pdf: the ending '.pdf' is unknown", "name the format with --format"),
    _file("x.parquet", '{"text": "a"}\n', "x.parquet: cannot be read as parquet", "magic bytes"),
    _file(
        "labels.jsonl",
        '{"text": "a", "label": null}\n',
        "missing label",
        "labels.jsonl: line 1",
        arguments="--label-column label",
    ),
    _file(
        "words.jsonl",
        '{"w": ["a", "b"], "l": ["O"]}\n',
        "words and labels of different lengths",
        arguments="--word-column w --word-label-column l",
    ),
]

_ARGUMENTS = [
    bad(f"arguments:{arguments}", _command(arguments), *needles)
    for arguments, *needles in (
        ("nowhere.jsonl", "nowhere.jsonl: no such file or directory; a source is a file"),
        ("./nowhere", "./nowhere: no such file or directory"),
        ("'*.none'", "*.none: no such file or directory"),
        ("no/such", "no/such: is no file here, and cannot be read as a Hub data set"),
        ("rows.jsonl --label-column lable", "no column 'lable'", "did you mean 'label'?"),
        ("rows.jsonl --label-column label --labels 0,,1", "--labels has an empty label: '0,,1'"),
        ("rows.jsonl --label-column label --labels 0,0", "--labels names a label twice: 0, 0"),
        ("rows.jsonl --label-column label --labels x,y", "40 label outside the set", "line 1"),
        ("rows.jsonl --labels a,b", "--labels needs --label-column or --word-label-column"),
        ("rows.jsonl --word-column text", "--word-column and --word-label-column need each other"),
        ("rows.jsonl --word-column text --word-label-column label", "not a list of words"),
        ("rows.jsonl --language ''", "--language is empty: give a code such as en"),
        ("rows.jsonl --demo cldr-names", "name either SOURCES or --demo"),
        ("", "name either SOURCES or --demo"),
        ("rows.jsonl --delimiter ;;", "--delimiter must be one character", "got ';;'"),
        ("rows.jsonl --max-length 3", "--max-length must be >= 8, got 3"),
        ("rows.jsonl --validation-fraction 1", "--validation-fraction must be in [0, 1), got 1.0"),
        ("rows.jsonl --task sequence_classification", "needs --label-column"),
        ("rows.jsonl --task token_classification", "needs --word-column"),
        ("rows.jsonl --pack --label-column label", "--pack joins documents: it excludes labels"),
        (
            "rows.jsonl --validation ./rows.jsonl",
            "rows.jsonl: is in two splits, train and",
        ),
        ("rows.jsonl --validation no.jsonl", "no.jsonl: no such file or directory"),
        ("rows.jsonl --format parquet", "rows.jsonl: cannot be read as parquet", "magic bytes"),
        ("rows.jsonl --tokenizer nowhere", "nowhere: no tokenizer can be loaded", "vocab.txt"),
        ("rows.jsonl --tokenizer rows.jsonl", "one WordPiece token a line", "rows.jsonl: "),
        ("rows.jsonl --tokenizer data/nowhere", "data/nowhere: no tokenizer can be loaded"),
    )
]


def _tokenizer(name: str, *needles: str, spoil: Spoil, source: str) -> Bad:
    return bad(name, _command(f"rows.jsonl --tokenizer {source}"), *needles, spoil=spoil)


_TOKENIZERS = [
    _tokenizer("object", "t.json: ", "'model'", source="t.json", spoil=written("t.json", "{}")),
    _tokenizer("array", "t.json: no tokenizer", source="t.json", spoil=written("t.json", "[]")),
    _tokenizer(
        "other-model",
        "t.json: no tokenizer can be loaded",
        "ModelUntagged",
        source="t.json",
        spoil=written("t.json", '{"model": {"type": "X"}}'),
    ),
    _tokenizer("twice", "[UNK] among them", source="v.txt", spoil=written("v.txt", "a\na\n")),
    _tokenizer(
        "nothing", "t: no tokenizer", "holds no", source="t", spoil=written("t/README", "x")
    ),
    _tokenizer(
        "array-config",
        "t: no tokenizer can be loaded",
        source="t",
        spoil=in_turn(written("t/tokenizer_config.json", "[]"), written("t/tokenizer.json", "{}")),
    ),
    _tokenizer(
        "own-code",
        "t: no tokenizer can be loaded",
        "custom code",
        source="t",
        spoil=written(
            "t/tokenizer_config.json",
            json.dumps({"tokenizer_class": "X", "auto_map": {"AutoTokenizer": ["x.X", None]}}),
        ),
    ),
]

_OUTPUTS = [
    bad("file", "prepare rows.jsonl --output run.yaml", "run.yaml: is a file, not a directory"),
    bad(
        "below-file", "prepare rows.jsonl --output run.yaml/x", "run.yaml/x: ", "is a file, not a"
    ),
    bad(
        "model",
        "prepare rows.jsonl --output teacher",
        "teacher: holds config.json, model.safetensors",
        "which raykd has not published there as a data directory; name another place",
    ),
    bad(
        "other-data",
        "prepare rows.jsonl --output data",
        "data: holds data prepared with other",
        "replace it with --overwrite or name another --output",
    ),
]


@rows([*_FILES, *_ARGUMENTS, *_TOKENIZERS, *_OUTPUTS])
def test_what_cannot_be_prepared_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)


@pytest.mark.slow
def test_a_line_of_ten_megabytes_is_cut_like_any_other(place: Path) -> None:
    written("long.jsonl", '{"text": "' + "x" * _MEGABYTES + ' y"}\n')()
    assert main(shlex.split(_command("long.jsonl"))) == 0
