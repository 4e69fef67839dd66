"""What each way to keep a teacher's outputs costs and changes, measured on some rows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from raykd.batch import Batch
from raykd.errors import DataError
from raykd.scores import ProjectedScores, Scores, chunks
from raykd.teachers.cache.encodings import encoding_for
from raykd.teachers.cache.fidelity import (
    captured,
    device,
    difference,
    frequencies,
    gradient,
    kl_error,
)
from raykd.teachers.cache.hashing import position_keys, row_checks
from raykd.teachers.cache.parts import Coverage
from raykd.teachers.cache.payload import Encoding, Payload
from raykd.teachers.cache.runner import TeacherRunner
from raykd.teachers.cache.sparse import SparseScores

_PLACES = 8
_ROWS_EACH = 8

_RECORD_BYTES = 24
"""Bytes of each row beside its values: id, checks, number of positions."""

_LIST_BYTES = 8
"""Bytes of each row and column that say where its list ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModePlan:
    """What one way costs and changes."""

    payload: Payload
    bytes_per_token: float
    """Per token of the data, scored or not."""

    num_bytes: int
    """Size of all that the run reads."""

    captured_mass: float
    """Share of the teacher's probability whose classes are kept one by one."""

    kl_error: float | None
    """Error of the divergence, relative; None of draws, whose entropy is not the teacher's."""

    gradient_error: float
    """Length of the difference of the gradients, relative; of the worst temperature."""

    angle_degrees: float
    """Between the gradients; of the worst temperature."""

    read_share: float
    """Time to read a batch and make its scores, as a share of asking the teacher."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """Some of the rows, and what the teacher says."""

    batches: list[Batch]
    scores: list[Scores]
    tokens: int
    seconds: float
    """To ask the teacher about a batch, and make all scores: the median."""


def planned_modes(
    runner: TeacherRunner,
    coverages: Sequence[Coverage],
    payloads: Sequence[Payload],
    *,
    temperatures: Sequence[float],
) -> list[ModePlan]:
    """Measure ways to keep what a teacher says, in their order; without those that do not fit.

    Args:
        runner: Asks the teacher.
        coverages: What the run reads.
        payloads: The ways.
        temperatures: Of the run's losses; sparse ways are measured at 1.

    Raises:
        DataError: No position of the rows is scored.
    """
    sample = _sampled(runner, coverages)
    if not any(scores.num_positions for scores in sample.scores):
        message = f"{runner.manifest.uri}: no position of {sample.tokens} tokens is scored"
        raise DataError(message)
    # Once for each temperature, not for each way: the exact gradient takes the most time here.
    student = frequencies(sample.scores)
    exact = {t: gradient(sample.scores, sample.scores, student, t) for t in {1.0, *temperatures}}
    tokens, rows = _size(coverages)
    plans = []
    for payload in payloads:
        if payload.mode == "hidden" and not isinstance(sample.scores[0], ProjectedScores):
            continue
        measured = _measured(sample, payload)
        is_sparse = isinstance(measured.scores[0], SparseScores)
        errors = [
            difference(exact[t], gradient(sample.scores, measured.scores, student, t))
            # A sparse cache serves temperature 1 alone.
            for t in ([1.0] if is_sparse else temperatures)
        ]
        width = len(measured.columns) * _LIST_BYTES + _RECORD_BYTES
        positions = sum(scores.num_positions for scores in sample.scores) / sample.tokens
        bytes_per_token = measured.bytes_per_position * positions + width * rows / tokens
        plans.append(
            ModePlan(
                payload=payload,
                bytes_per_token=bytes_per_token,
                num_bytes=round(bytes_per_token * tokens),
                captured_mass=captured(sample.scores, measured.scores),
                kl_error=None
                # One score is a number: it has no divergence.
                if payload.mode == "sampled" or len(student) == 1
                else kl_error(sample.scores, measured.scores, student),
                gradient_error=max(error for error, _ in errors),
                angle_degrees=max(angle for _, angle in errors),
                read_share=median(measured.seconds) / sample.seconds,
            )
        )
    return plans


def cheapest(plans: Sequence[ModePlan], *, max_gradient_error: float) -> ModePlan:
    """Return the smallest whose gradient is near enough; the most exact one where none is."""
    fit = [plan for plan in plans if plan.gradient_error <= max_gradient_error]
    if not fit:
        return min(plans, key=lambda plan: plan.gradient_error)
    return min(fit, key=lambda plan: plan.bytes_per_token)


def _sampled(runner: TeacherRunner, coverages: Sequence[Coverage]) -> _Sample:
    """Ask about rows at evenly spaced places of the first split: the training data."""
    split = _split(coverages[0])
    chosen = [coverage for coverage in coverages if _split(coverage) == split]
    # Spread out: corpora are often sorted, by source or by length.
    batches, scores, tokens, seconds = [], [], 0, []
    for place in range(_PLACES):
        coverage = chosen[place * len(chosen) // _PLACES]
        rows = coverage.ranges[place * len(coverage.ranges) // _PLACES]
        start = max(rows.start, rows.start + place * len(rows) // _PLACES - _ROWS_EACH)
        stop = min(rows.stop, start + _ROWS_EACH)
        asked = runner.rows(coverage.shard, start, stop, epoch=coverage.epoch)
        batch = runner.task.collate(asked)
        begun = time.perf_counter()
        asked_scores = runner.scores(batch)
        # A head makes logits of features only when asked: that is part of the teacher's time.
        for positions in chunks(asked_scores, runner.device):
            asked_scores.logits(positions)
        seconds.append(time.perf_counter() - begun)
        batches.append(batch)
        scores.append(asked_scores)
        tokens += batch.num_tokens
    return _Sample(batches=batches, scores=scores, tokens=tokens, seconds=median(seconds))


@dataclass(kw_only=True, slots=True)
class _Measured:
    scores: list[Scores] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    seconds: list[float] = field(default_factory=list)
    bytes_per_position: float = 0.0


def _measured(sample: _Sample, payload: Payload) -> _Measured:
    """Keep the sample in one way and read it again."""
    encoding: Encoding = encoding_for(payload, sample.scores[0])
    measured = _Measured(bytes_per_position=encoding.bytes_per_position)
    for batch, scores in zip(sample.batches, sample.scores, strict=True):
        keys_P = position_keys(row_checks(batch), batch.examples_P.numpy())
        columns = encoding.encode(scores, keys_P)
        begun = time.perf_counter()
        decoded = encoding.decode(columns, device(scores))
        for chosen in () if isinstance(decoded, SparseScores) else chunks(decoded, device(scores)):
            decoded.logits(chosen)
        measured.seconds.append(time.perf_counter() - begun)
        measured.scores.append(decoded)
        measured.columns = tuple(columns)
    return measured


def _split(coverage: Coverage) -> str:
    return coverage.shard.path.partition("/")[0]


def _size(coverages: Sequence[Coverage]) -> tuple[int, int]:
    """Return tokens and rows that the run reads, each once in each mask epoch."""
    tokens = sum(coverage.tokens for coverage in coverages)
    return round(tokens), sum(coverage.rows for coverage in coverages)
