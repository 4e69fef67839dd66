"""Metrics are in storage as they happen, and a restarted run continues them without a seam."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from raykd.cli.progress import training_line
from raykd.distill.loop import FinishedStep
from raykd.runs.metrics import (
    BEST_STEP,
    DeviceUse,
    Meter,
    MetricsLog,
    MetricsTail,
    Record,
    evaluations,
    is_finished,
    read_metrics,
    scores_of,
)
from raykd.runs.trackers.tensorboard import TensorBoardTracker
from raykd.storage import uris
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


@pytest.fixture
def uri(storage_uri: str) -> str:
    return uris.join(storage_uri, "run", "metrics.jsonl")


def records(*steps: int) -> list[Record]:
    return [{"step": step, "tokens": step * 10, "train/loss": 1 / step} for step in steps]


def write(uri: str, new: list[Record], *, step: int = 0) -> None:
    log = MetricsLog(uri, step=step)
    for record in new:
        log.append(record)
    log.close(is_done=True)


def test_nothing_is_read_before_the_first_record(uri: str) -> None:
    assert read_metrics(uri) == []


def test_records_read_back_in_order(uri: str) -> None:
    write(uri, records(1, 2, 3))
    assert read_metrics(uri) == records(1, 2, 3)


def test_every_record_is_one_line_of_json(uri: str) -> None:
    write(uri, records(1, 2))
    lines = uris.read_bytes(uri).decode().splitlines()
    assert [json.loads(line) for line in lines] == records(1, 2)


def test_reopened_at_a_step_the_log_drops_what_will_be_done_again(uri: str) -> None:
    write(uri, records(1, 2, 2, 3, 4))
    write(uri, records(3, 5), step=2)
    assert read_metrics(uri) == records(1, 2, 2, 3, 5)


def test_reopening_alone_drops_the_records_that_readers_see(uri: str) -> None:
    write(uri, records(1, 2, 3))
    log = MetricsLog(uri, step=1)
    assert read_metrics(uri) == records(1)
    log.close(is_done=True)


def test_a_line_that_was_never_finished_is_not_read_and_goes_on_reopening(uri: str) -> None:
    write(uri, records(1, 2))
    uris.write_bytes(uri, uris.read_bytes(uri) + b'{"step": 3, "tok')
    assert read_metrics(uri) == records(1, 2)
    write(uri, records(3), step=2)
    assert read_metrics(uri) == records(1, 2, 3)


def test_a_record_is_on_this_machine_before_the_log_is_closed(tmp_path: Path) -> None:
    uri = str(tmp_path / "metrics.jsonl")
    log = MetricsLog(uri, step=0)
    log.append(records(1)[0])
    assert read_metrics(uri) == records(1)
    log.close(is_done=True)


def test_flushing_brings_every_record_to_storage(uri: str) -> None:
    log = MetricsLog(uri, step=0)
    for record in records(1, 2, 3):
        log.append(record)
    log.flush()
    assert read_metrics(uri) == records(1, 2, 3)
    log.close(is_done=True)


def test_what_is_not_finite_is_null_and_reads_back_as_no_number(uri: str) -> None:
    write(uri, [{"step": 1, "tokens": 1, "eval/perplexity": math.inf, "train/loss": math.nan}])
    assert json.loads(uris.read_bytes(uri))["eval/perplexity"] is None
    (record,) = read_metrics(uri)
    assert math.isnan(record["eval/perplexity"])
    assert math.isnan(record["train/loss"])


def scalars(directory: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory)).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_gets_every_metric_and_forgets_what_is_done_again(tmp_path: Path) -> None:
    uri, directory = str(tmp_path / "metrics.jsonl"), tmp_path / "tensorboard"
    for step, new in [(0, records(1, 2, 4)), (2, records(4, 8))]:
        log = MetricsLog(uri, step=step, trackers=[TensorBoardTracker(str(directory))])
        for record in new:
            log.append(record)
        log.close(is_done=True)
    assert scalars(directory, "train/loss") == [(1, 1.0), (2, 0.5), (4, 0.25), (8, 0.125)]
    assert scalars(directory, "tokens") == [(1, 10.0), (2, 20.0), (4, 40.0), (8, 80.0)]


def finished(
    step: int,
    loss: float,
    *,
    kl: float = 0.0,
    tokens: int = 1,
    positions: int = 1,
    data_wait: float = 0.0,
) -> FinishedStep:
    return FinishedStep(
        step=step,
        loss=loss,
        terms={"cross_entropy": 2 * loss, "forward_kl": kl},
        grad_norm=loss + 1,
        learning_rate=step / 100,
        positions=positions,
        tokens=tokens,
        data_wait_seconds=data_wait,
    )


USE = DeviceUse(device=torch.device("cpu"), flops_per_token=3e11, device_flops=4e12)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Let the test say how late it is: the last entry of the list."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[-1])
    yield now
    monkeypatch.undo()


def test_a_record_is_the_mean_over_the_steps_since_the_last(clock: list[float]) -> None:
    meter = Meter(USE)
    for step, loss, kl in [(1, 1.0, 4.0), (2, 2.0, 5.0), (3, 6.0, 9.0)]:
        clock.append(step * 2.0)
        meter.add(finished(step, loss, kl=kl, tokens=step * 10, data_wait=step / 4))
    record = meter.record(tokens=1_000)
    assert record.pop("train/peak_memory_mb") > 1
    assert record == {
        "step": 3,
        "tokens": 1_000,
        "train/loss": 3.0,
        "train/loss/cross_entropy": 6.0,
        "train/loss/forward_kl": 6.0,
        "train/grad_norm": 4.0,
        "train/learning_rate": 0.03,
        "train/tokens_per_second": 10.0,
        "train/tflops_per_second": 3.0,
        "train/mfu": 0.75,
        "train/data_wait_share": 0.25,
    }
    clock.append(8.0)
    meter.add(finished(4, 7.0, tokens=3))
    second = meter.record(tokens=2_000)
    assert (second["train/loss"], second["train/tokens_per_second"]) == (7.0, 1.5)
    assert second["train/data_wait_share"] == 0.0


def test_a_step_that_scores_nothing_is_no_part_of_the_means(clock: list[float]) -> None:
    meter = Meter(USE)
    for step, loss, positions in [(1, 3.0, 2), (2, 0.0, 0), (3, 5.0, 1)]:
        clock.append(step * 1.0)
        meter.add(finished(step, loss, tokens=10, positions=positions))
    record = meter.record(tokens=30)
    assert (record["train/loss"], record["train/grad_norm"]) == (4.0, 5.0)
    assert record["train/tokens_per_second"] == 10.0
    clock.append(4.0)
    meter.add(finished(4, 0.0, tokens=10, positions=0))
    nothing = meter.record(tokens=40)
    assert "train/loss" not in nothing
    assert training_line(nothing, 9).startswith("step 4/9  no position scored ")


def test_work_that_is_not_training_does_not_slow_the_speed(clock: list[float]) -> None:
    meter = Meter(USE)
    clock.append(1.0)
    meter.add(finished(1, 1.0, tokens=30))
    clock.append(100.0)
    meter.resume()
    clock.append(103.0)
    meter.add(finished(2, 1.0, tokens=30))
    assert meter.record(tokens=60)["train/tokens_per_second"] == 15.0


def test_all_scores_of_a_step_are_one_evaluation_and_those_of_weights_are_found(uri: str) -> None:
    first = {"step": 2, "tokens": 20, "eval/loss": 1.0}
    last = {"step": 4, "tokens": 40, "eval/loss": 2.0}
    tested = {"step": 4, "tokens": 40, BEST_STEP: 2, "test/loss": 1.5}
    began = {"step": 0, "tokens": 0, "init/logit_difference": 0.0}
    write(uri, [began, *records(1, 2), first, *records(4), last])
    assert not is_finished(uri)
    assert evaluations(uri) == [first, last]
    assert (scores_of(uri, 2), scores_of(uri, 4), scores_of(uri, 3)) == (first, last, {})
    write(uri, [tested], step=4)
    assert is_finished(uri)
    assert evaluations(uri) == [first, last | tested]
    assert scores_of(uri, 2) == first | {BEST_STEP: 2, "test/loss": 1.5}
    assert scores_of(uri, 4) == last
    # Steps that are taken again are tested again.
    write(uri, [], step=2)
    assert not is_finished(uri)


def test_a_tail_tells_each_record_once_and_survives_a_restart(uri: str) -> None:
    write(uri, records(1))
    tail = MetricsTail(uri)
    assert tail.new_records() == []
    write(uri, records(2, 3, 4), step=1)
    assert tail.new_records() == records(2, 3, 4)
    assert tail.new_records() == []
    log = MetricsLog(uri, step=2)
    assert tail.new_records() == []
    log.append(records(3)[0])
    log.flush()
    assert tail.new_records() == records(3)
    log.close(is_done=True)
