from dataclasses import replace
from pathlib import Path

import pytest
from raykd.config.schema.prepare import PrepareOptions, SourceOptions
from raykd.data.prepare.inputs import Inputs, ReadingMeter, find_inputs
from raykd.data.prepare.raw_rows import RawRows


@pytest.fixture
def options(tmp_path: Path) -> PrepareOptions:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("one\ntwo\n")
    return PrepareOptions(sources=SourceOptions(train=(str(tmp_path),)), output_uri="unused")


def test_units_are_runs_of_files_that_are_worth_a_reader(options: PrepareOptions) -> None:
    inputs = find_inputs(options)
    small, large = 1 << 20, 65 << 20
    files = [replace(inputs.files[0], bytes=size) for size in (small, large, large, small, small)]
    units = replace(inputs, files=tuple(files)).units()
    sizes = [[file.bytes for file in unit.files] for unit in units]
    assert sizes == [[small, large], [large], [small, small]]
    assert all(unit.record == inputs.record for unit in units)


def test_a_demo_is_one_unit() -> None:
    inputs = Inputs(files=(), demo="cldr-names", record={})
    assert inputs.units() == [inputs]


def test_files_that_others_read_count_when_they_are_read(options: PrepareOptions) -> None:
    inputs = find_inputs(options)
    meter = ReadingMeter(inputs.files)
    shares = [meter.share]
    for file in inputs.files:
        meter.count([file])
        shares.append(meter.share)
    assert shares == [0.0, 0.5, 1.0]


def test_the_meter_follows_the_bytes_of_the_files(options: PrepareOptions) -> None:
    inputs = find_inputs(options)
    meter = ReadingMeter(inputs.files)
    first, second = (file.uri for file in inputs.files)
    pieces = [(first, "x" * 4), (first, "x" * 400), (second, "x" * 4)]
    rows = (
        RawRows(split="train", uri=uri, unit="line", numbers=[1], texts=[text])
        for uri, text in pieces
    )
    assert [meter.share for _ in meter.watched(rows)] == [0.25, 0.5, 0.75]


def test_nobody_knows_how_far_a_demo_is() -> None:
    assert ReadingMeter(()).share is None
