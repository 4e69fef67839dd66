import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from raykd.errors import DataError

from tests.unit.data.prepare.reading import labelled, texts


def _zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


PACKED = pytest.mark.parametrize(
    ("ending", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", _zstd)],
    ids=lambda value: value if isinstance(value, str) else "",
)


@PACKED
def test_every_format_is_unpacked(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    table = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["a"], "label": ["x"]}), table)
    contents = {
        "a.jsonl": b'{"text": "a", "label": "x"}\n',
        "a.csv": b"text,label\na,x\n",
        "a.parquet": table.read_bytes(),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}{ending}"
        path.write_bytes(pack(content))
        assert labelled(path) == [("a", "x")]
    path = tmp_path / f"two.txt{ending.upper()}"
    path.write_bytes(pack(b"a\n") + pack(b"b\n"))
    assert texts(path) == ["a", "b"]


@PACKED
def test_a_file_that_ends_too_soon_is_refused(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(pack(b"".join(b"%d\n" % number for number in range(5000)))[:-5])
    with pytest.raises(DataError, match=rf"a\.txt\{ending}: cannot be read as text"):
        texts(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_decide_the_encoding(tmp_path: Path, encoding: str) -> None:
    she = "\u043e\u043d\u0430 \u0437\u0434\u0435\u0441\u044c"
    contents = {
        "a.txt": f"{she}\nno\n",
        "a.csv": f"text\n{she}\nno\n",
        "a.jsonl": f'{{"text": "{she}"}}\n{{"text": "no"}}',
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding=encoding)
        assert texts(tmp_path / name) == [she, "no"]


def test_big_endian_utf_16_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xfe\xff" + "\u043e\u043d\u0430\n".encode("utf-16-be"))
    assert texts(tmp_path / "a.txt") == ["\u043e\u043d\u0430"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("line", ["two words\n", "\u4f60\u597d\u4f60\u597d\u4f60\u597d\n"])
def test_utf_16_without_a_mark_is_refused_by_name(
    tmp_path: Path, encoding: str, line: str
) -> None:
    (tmp_path / "a.txt").write_bytes((line * 20).encode(encoding))
    with pytest.raises(DataError, match="it is UTF-16 without a byte order mark"):
        texts(tmp_path / "a.txt")


def test_a_null_character_makes_no_utf_16(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"odd \0 thing\n")
    assert texts(tmp_path / "a.txt") == ["odd \0 thing"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_undecodable_bytes_become_replacement_characters(tmp_path: Path, name: str) -> None:
    content = {"a.txt": b"x\xff\ny", "a.jsonl": b'{"text":"x\xff"}\n{"text":"y"}\n'}
    path = tmp_path / name
    path.write_bytes(content.get(name, b"text\nx\xff\ny\n"))
    assert texts(path) == ["x\ufffd", "y"]
