"""Fixtures of the tests of ``raykd prepare``."""

from pathlib import Path

import pytest
from raykd.config.schema.prepare import (
    ColumnOptions,
    PrepareOptions,
    SourceOptions,
    TokenizerOptions,
)

from tests.unit.data.prepare.small_sources import Row, json_lines, sentences


@pytest.fixture
def options(tmp_path: Path) -> PrepareOptions:
    """Return options for 3000 labelled rows in two languages."""
    rows: list[Row] = [
        {"text": text, "label": index % 3, "lang": "en" if index % 4 else "pt-BR"}
        for index, text in enumerate(sentences(3000))
    ]
    json_lines(tmp_path / "rows.jsonl", rows)
    return PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "rows.jsonl"),), validation_fraction=0.1),
        columns=ColumnOptions(label="label", language="lang"),
        tokenizer=TokenizerOptions(vocab_size=400),
        output_uri=str(tmp_path / "data"),
        max_length=16,
    )
