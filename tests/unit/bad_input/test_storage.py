"""Places that cannot be read or written: wrong schemes, missing buckets, files for directories."""

from pathlib import Path

import pytest

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows
from tests.unit.bad_input.spoiling import written

_UNKNOWN = "Protocol not known: nope"

_NO_BUCKET = "the bucket does not exist: create it, or name another"

_READ = [
    bad("scheme", "train run.yaml data.uri=nope://x", "nope://x/COMMITTED: ", _UNKNOWN),
    bad("gs", "train run.yaml data.uri=gs://x/y", "gs://x/y/COMMITTED: ", "install gcsfs"),
    bad("az", "train run.yaml data.uri=az://x/y", "az://x/y/COMMITTED: ", "Install adlfs"),
    bad("file", "train run.yaml data.uri=run.yaml", "run.yaml/COMMITTED: ", "Not a directory"),
    bad("model", "train kd.yaml teachers.big.model=nope://x", "nope://x", _UNKNOWN),
    bad("model-gs", "train kd.yaml teachers.big.model=gs://x/y", "gs://x/y", "install gcsfs"),
    bad("source", "prepare nope://x.jsonl --output out", "nope://x.jsonl: ", _UNKNOWN, status=1),
    bad("source-gs", "prepare gs://x/y.txt --output out", "gs://x/y.txt: ", "gcsfs", status=1),
    bad("tokenizer", "prepare rows.jsonl --output out --tokenizer nope://x", "nope://x: no token"),
    bad("evaluate", "evaluate nope://x", "nope://x/run.yaml: ", _UNKNOWN, status=1),
    bad("evaluate-file", "evaluate run.yaml", "run.yaml: is a file, not the directory of a run"),
    bad("report", "report nope://x", "nope://x", _UNKNOWN, status=1),
]

_WRITTEN = [
    bad("out", "train run.yaml output_uri=nope://x", "nope://x/small: ", _UNKNOWN),
    bad("out-gs", "train run.yaml output_uri=gs://x/y", "gs://x/y/small: ", "gcsfs"),
    bad(
        "out-file",
        "train run.yaml output_uri=run.yaml",
        "run.yaml is a file, not a directory; name another output_uri",
    ),
    bad(
        "prepare-file",
        "prepare rows.jsonl --output taken/deep/out",
        "taken/deep/out: ",
        "taken is a file, not a directory; name another --output",
        spoil=written("taken", "x"),
    ),
]


@rows([*_READ, *_WRITTEN])
def test_a_place_that_does_not_serve_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)


_BUCKETS = [
    bad(
        "data", "train run.yaml data.uri=s3://no-such-raykd/x", "s3://no-such-raykd/x", _NO_BUCKET
    ),
    bad(
        "model",
        "train kd.yaml teachers.big.model=s3://no-such-raykd/x",
        "s3://no-such-raykd/x",
        _NO_BUCKET,
    ),
    bad("run", "evaluate s3://no-such-raykd/x", "s3://no-such-raykd/x", _NO_BUCKET, status=1),
    bad("report", "report s3://no-such-raykd/x", "s3://no-such-raykd/x", _NO_BUCKET, status=1),
    bad(
        "source",
        "prepare s3://no-such-raykd/x.txt --output out",
        "s3://no-such-raykd/x.txt: no such file",
    ),
]


@rows(_BUCKETS)
def test_a_bucket_that_is_not_there_is_named(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str], s3_uri: str
) -> None:
    assert_refused(row, place=place, capsys=capsys)
