"""The comments above a configuration name the commands that prepare its data."""

from pathlib import Path

from raykd.config.header import preparations

HEADER = """\
# A study. Its data:
#   raykd prepare texts/*.txt --output data/a \\
#     --pack --language en
#   raykd prepare b.jsonl --output s3://bucket/b
#   raykd train run.yaml --output data/no
#   raykd prepare 'unclosed --output data/no
# raykd prepares all that.
name: study
# raykd prepare late.txt --output data/late
"""


def test_commands_are_found_by_the_place_of_the_data(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(HEADER)
    assert preparations(path) == {
        "data/a": "raykd prepare texts/*.txt --output data/a --pack --language en",
        "s3://bucket/b": "raykd prepare b.jsonl --output s3://bucket/b",
    }


def test_a_file_without_a_header_or_none_at_all_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_bytes(b"name: \xff\n")
    assert preparations(tmp_path / "plain.yaml") == {}
    assert preparations(tmp_path / "none.yaml") == {}
