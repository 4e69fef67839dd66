"""Labels that are numbers: float32 in the shards, no classes in the manifest, bad ones told."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raykd.cli.main import main
from raykd.config.schema.prepare import NUMBER, ColumnOptions, PrepareOptions
from raykd.data.lanes import BatchReader, addresses, as_rows
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.prepare.pipeline import prepare
from raykd.errors import ConfigError

from tests.unit.data.prepare.small_sources import Row, ignore, json_lines, sentences


def labels_in(manifest: Manifest, split: str = "train") -> list[float]:
    """Return the labels of a split as training reads them, in the order of the rows."""
    places = addresses(manifest, manifest.shards(split))
    reader = BatchReader(manifest, num_threads=1)
    rows = as_rows(reader.submit(places).result(), epoch=0)
    reader.close()
    assert rows.labels_B is not None
    assert rows.labels_B.dtype == "float32"
    return [float(label) for label in rows.labels_B]


def numbers(options: PrepareOptions, path: Path) -> PrepareOptions:
    """Return options that read numbers of a file, and split nothing off."""
    sources = replace(options.sources, train=(str(path),), validation_fraction=0.0)
    columns = ColumnOptions(label="score", text_pair="pair")
    return replace(options, sources=sources, columns=columns, label_type="number")


def scored(scores: list[object]) -> list[Row]:
    texts = sentences(len(scores))
    return [
        {"text": text, "pair": text[::-1], "score": score}
        for text, score in zip(texts, scores, strict=True)
    ]


def test_numbers_reach_training_as_float32(options: PrepareOptions, tmp_path: Path) -> None:
    # -100 is a number as well: it marks what is not scored among classes only.
    path = json_lines(tmp_path / "a.jsonl", scored([3.8, 5, "0.25", -100, 1e-3, " 2 "]))
    manifest = prepare(numbers(options, path), on_progress=ignore).manifest
    assert manifest.labels == NUMBER
    assert labels_in(manifest) == pa.array([3.8, 5, 0.25, -100, 1e-3, 2], pa.float32()).to_pylist()
    assert manifest.has_token_types


def test_what_is_no_finite_number_is_rejected_by_reason(
    options: PrepareOptions, tmp_path: Path
) -> None:
    rows = scored([1.5, None, "", "good", "nan", "-inf", 1e39, True, "1_000", 2])
    report = prepare(numbers(options, json_lines(tmp_path / "a.jsonl", rows)), on_progress=ignore)
    assert {one.what: one.count for one in report.rejected} == {
        "missing label": 2,
        "label that is no number": 3,
        "label that is NaN or infinite in float32": 3,
    }
    assert labels_in(report.manifest) == [1.5, 2.0]


def test_a_table_of_floats_has_its_missing_and_unsound_labels_told_apart(
    options: PrepareOptions, tmp_path: Path
) -> None:
    rows = scored([0.1, None, float("nan"), float("inf"), 4.5])
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    report = prepare(numbers(options, tmp_path / "a.parquet"), on_progress=ignore)
    assert {one.what: one.count for one in report.rejected} == {
        "missing label": 1,
        "label that is NaN or infinite in float32": 2,
    }
    assert labels_in(report.manifest) == pytest.approx([0.1, 4.5])


def test_the_type_of_the_label_tells_data_apart(options: PrepareOptions, tmp_path: Path) -> None:
    path = json_lines(tmp_path / "a.jsonl", scored([1, 2, 1, 2] * 5))
    of_numbers = numbers(options, path)
    first = prepare(of_numbers, on_progress=ignore)
    assert prepare(replace(of_numbers, num_processes=2), on_progress=ignore).was_done
    classes = replace(of_numbers, label_type="class")
    # Data that were prepared before there were numbers are those of the same command today.
    assert "label_type" not in classes.record()
    other = replace(classes, output_uri=str(tmp_path / "classes"))
    assert prepare(other, on_progress=ignore).manifest.labels == ("1", "2")
    with pytest.raises(ConfigError, match="label_type: None, not 'number'"):
        prepare(replace(of_numbers, output_uri=other.output_uri), on_progress=ignore)
    assert read_manifest(of_numbers.output_uri) == first.manifest


def test_options_that_do_not_fit_numbers_are_refused(options: PrepareOptions) -> None:
    without = replace(options, columns=ColumnOptions(), label_type="number")
    assert without.problems() == ["--label-type number needs --label-column"]
    named = replace(options, labels=("a",), label_type="number")
    assert named.problems() == ["--label-type number excludes --labels: numbers are no classes"]


def test_the_command_says_what_it_takes_numbers_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{text}\t{index / 4}" for index, text in enumerate(sentences(40))]
    (tmp_path / "a.tsv").write_text("\n".join(["text\tscore", *lines]))
    command = [
        "prepare",
        str(tmp_path / "a.tsv"),
        "--label-column",
        "score",
        "--vocab-size",
        "300",
    ]
    assert main([*command, "--output", str(tmp_path / "classes")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "noted all labels are numbers, taken for the names of 40 classes" in said
    assert main([*command, "--output", str(tmp_path / "n"), "--label-type", "number"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "labels 1 number" in said
    assert "noted" not in said
    content = json.loads((tmp_path / "n" / "manifest.json").read_text())["content"]
    assert content["labels"] == []
