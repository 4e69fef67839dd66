"""What a second start of ``raykd prepare`` finds, reuses, and refuses to replace."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from raykd.config.schema.prepare import (
    ColumnOptions,
    PrepareOptions,
    SourceOptions,
    TokenizerOptions,
)
from raykd.data.prepare.pipeline import prepare
from raykd.data.prepare.report import Progress
from raykd.errors import ConfigError, DataError, PublicationError

from tests.prepared import word_tokenizer
from tests.unit.data.prepare.small_sources import (
    Row,
    ignore,
    json_lines,
    saved_vocabulary,
    sentences,
)


def test_processes_and_repetition_do_not_change_a_byte(options: PrepareOptions) -> None:
    rows: list[Row] = [
        {"text": text, "label": index % 2, "lang": f"l{index % 7}"}
        for index, text in enumerate(sentences(45_000))
    ]
    json_lines(Path(options.sources.train[0]), rows)
    one = prepare(options, on_progress=ignore)
    again = prepare(replace(options, overwrites=True), on_progress=ignore)
    two = prepare(replace(options, num_processes=2, overwrites=True), on_progress=ignore)
    assert one.parts == 3
    assert not any(report.was_done for report in (again, two))
    assert one.manifest == again.manifest == two.manifest


def test_the_same_command_again_finds_the_work_done(options: PrepareOptions) -> None:
    first = prepare(options, on_progress=ignore)
    again = prepare(replace(options, num_processes=2), on_progress=ignore)
    assert again.was_done
    assert again.manifest == first.manifest


def test_other_options_need_a_decision(options: PrepareOptions) -> None:
    prepare(options, on_progress=ignore)
    other = replace(options, max_length=8)
    with pytest.raises(ConfigError, match=r"max_length: 16, not 8.*--overwrite"):
        prepare(other, on_progress=ignore)
    report = prepare(replace(other, overwrites=True), on_progress=ignore)
    assert report.manifest.max_length == 8


def test_a_source_that_holds_something_else_is_prepared_again(options: PrepareOptions) -> None:
    first = prepare(options, on_progress=ignore)
    source = Path(options.sources.train[0])
    before = source.stat()
    source.write_text(source.read_text().replace('"label": 1', '"label": 0'))
    # As mv and rsync leave it: of the same size, and older than what was prepared.
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns - 10**12))
    assert source.stat().st_size == before.st_size
    again = prepare(options, on_progress=ignore)
    assert again.was_changed
    assert again.manifest.fingerprint != first.manifest.fingerprint
    assert prepare(options, on_progress=ignore).was_done


def test_the_same_sources_at_another_place_find_the_work_done(
    options: PrepareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(options, on_progress=ignore)
    source = Path(options.sources.train[0])
    copy = tmp_path / "elsewhere" / source.name
    copy.parent.mkdir()
    copy.write_bytes(source.read_bytes())
    os.utime(copy, (0, 0))
    monkeypatch.chdir(copy.parent)
    for place in (str(copy), copy.name, f"./{copy.name}"):
        moved = replace(options, sources=replace(options.sources, train=(place,)))
        assert prepare(moved, on_progress=ignore).was_done


def test_other_sources_need_a_decision(options: PrepareOptions, tmp_path: Path) -> None:
    prepare(options, on_progress=ignore)
    other = tmp_path / "other.jsonl"
    json_lines(other, [{"text": "another", "label": 1, "lang": "en"}] * 3)
    with pytest.raises(ConfigError, match=r"prepared from other sources; .*--overwrite"):
        prepare(
            replace(options, sources=replace(options.sources, train=(str(other),))),
            on_progress=ignore,
        )


def test_another_tokenizer_at_the_same_place_prepares_again(
    options: PrepareOptions, tmp_path: Path
) -> None:
    place = tmp_path / "tokenizer"
    given = replace(options, tokenizer=TokenizerOptions(source=str(place)))
    found = []
    for size in (300, 301):
        word_tokenizer(size).save_pretrained(place)
        found.append(prepare(given, on_progress=ignore))
    assert found[1].was_changed
    assert len({report.manifest.tokenizer.fingerprint for report in found}) == 2


def test_files_of_others_are_never_replaced(options: PrepareOptions) -> None:
    Path(options.output_uri).mkdir()
    Path(options.output_uri, "thesis.tex").touch()
    with pytest.raises(PublicationError, match=r"holds thesis\.tex, which raykd has not"):
        prepare(options, on_progress=ignore)
    assert Path(options.output_uri, "thesis.tex").exists()


class _KilledError(Exception):
    pass


def test_a_second_start_reuses_finished_parts(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("\n".join(sentences(100_000)))
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
    resumed = prepare(options, on_progress=ignore)
    assert 0 < resumed.reused_parts < resumed.parts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "data"]
    smooth = prepare(replace(options, overwrites=True, num_processes=2), on_progress=ignore)
    assert smooth.reused_parts == 0
    assert smooth.manifest.fingerprint == resumed.manifest.fingerprint


def test_bad_input_leaves_nothing_and_is_read_anew_when_mended(tmp_path: Path) -> None:
    good = tmp_path / "a.jsonl"
    json_lines(good, [{"text": text} for text in sentences(21_000)])
    bad = tmp_path / "b.jsonl"
    bad.write_text('{"txt": "other"}\n')
    options = PrepareOptions(
        sources=SourceOptions(train=(str(good), str(bad))),
        columns=ColumnOptions(),
        tokenizer=TokenizerOptions(source=str(saved_vocabulary(tmp_path))),
        output_uri=str(tmp_path / "data"),
    )
    with pytest.raises(DataError, match=r"b\.jsonl: has no column 'text'"):
        prepare(options, on_progress=ignore)
    assert not list(tmp_path.glob(".data*"))
    json_lines(bad, [{"text": "repaired"}])
    report = prepare(options, on_progress=ignore)
    assert (report.reused_parts, report.examples) == (0, 21_001)
    assert not list(tmp_path.glob(".data.prepare-*"))
