"""Models are measured once for each machine, and what cannot be built is left out."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from raykd.machine.cores import cpu_model
from raykd.report.efficiency.latencies import (
    LATENCIES,
    Latency,
    read_latencies,
    tokens_of_row,
)
from raykd.report.efficiency.measure import measured
from raykd.sweep.plan.model_sizes import model_size

from tests.sized_ledger import sized_ledger, tiny_size
from tests.tiny_models import tiny_model

ELSEWHERE = Latency(
    model=tiny_size(1).id,
    tokens=10,
    cpu="elsewhere",
    threads=64,
    milliseconds=1.0,
    num_passes=20,
    load=0.0,
)


def test_a_model_is_measured_once_on_each_machine() -> None:
    first = measured([tiny_size(1)], [ELSEWHERE], tokens=10)
    assert first[0] == ELSEWHERE
    (own,) = first[1:]
    assert (own.model, own.tokens, own.cpu) == (tiny_size(1).id, 10, cpu_model())
    assert own.threads == torch.get_num_threads()
    assert own.milliseconds > 0
    assert own.num_passes >= 20
    # That of this machine is the last one, wherever it stood.
    assert measured([tiny_size(1)], [own, ELSEWHERE], tokens=10) == (ELSEWHERE, own)
    again = measured([tiny_size(1)], first, tokens=11)
    assert again[:2] == first
    assert [each.tokens for each in again[2:]] == [11]


@pytest.mark.parametrize("model_type", ["modernbert", "deberta-v2", "llama"])
def test_other_families_are_measured_from_what_the_ledger_says(model_type: str) -> None:
    model = tiny_model(model_type, "sequence_classification")
    size = model_size(model.config, "sequence_classification")
    saved = replace(size, fields=json.loads(json.dumps(size.fields)))
    assert [each.model for each in measured([saved], [], tokens=3)] == [size.id]


def test_what_cannot_be_built_here_is_left_out() -> None:
    size = tiny_size(1)
    unknown = replace(size, model_type="of-tomorrow")
    broken = replace(size, fields={**size.fields, "hidden_size": 33})
    # Longer than its positions.
    assert measured([size], [], tokens=100_000) == ()
    # Of 4 PB.
    large = replace(size, embeddings=10**15)
    assert measured([unknown, broken, large], [ELSEWHERE], tokens=3) == (ELSEWHERE,)


def test_the_row_is_as_long_as_the_mean_of_the_data() -> None:
    records = list(sized_ledger().records.values())
    assert tokens_of_row(records) == (10, "the mean of the training data")
    assert tokens_of_row(records[:1])[0] == 128


@pytest.mark.parametrize("text", [None, "[", '{"a": 1}', '[{"model": "m"}]', "3"])
def test_what_cannot_be_read_is_measured_again(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / LATENCIES).write_text(text)
    assert read_latencies([str(tmp_path)]) == ()
    # Where nobody may look, or nobody can.
    assert read_latencies(["unknown://bucket/report"]) == ()
