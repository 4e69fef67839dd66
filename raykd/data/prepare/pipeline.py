"""Text in, prepared data set out: restartable, and the same bytes every time.

sources -> rows -> parts (tokenised, kept across restarts) -> shards -> published directory
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from raykd import storage
from raykd.config.schema.prepare import TRAIN, PrepareOptions
from raykd.data.manifest import (
    KIND,
    TOKENIZER_DIRECTORY,
    Manifest,
    Shard,
    manifest_content,
    read_manifest,
    row_schema,
)
from raykd.data.prepare.assembly import Assembly
from raykd.data.prepare.examples import Recipe, Rejection, merged
from raykd.data.prepare.existing import (
    discard_useless_work,
    finished_data,
    recorded_options,
    remove_work,
    work_directory,
)
from raykd.data.prepare.inputs import Inputs, ReadingMeter, find_inputs
from raykd.data.prepare.packing import packed_layout
from raykd.data.prepare.parts import Part, encoded_parts
from raykd.data.prepare.places import place
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.prepare.survey import survey
from raykd.data.prepare.writer import Size
from raykd.data.tokenizers import load_tokenizer, tells_pairs_apart, tokenizer_info
from raykd.errors import ConfigError, DataError
from raykd.published.publishing import publishing
from raykd.remote.patience import PATIENCE_SECONDS

_SURVEY = "survey.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a preparation is."""

    stage: Literal["surveying", "tokenising", "writing"]
    share: float | None
    """Estimated fraction of the stage that is done; None where nobody knows."""

    examples: int = 0
    tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedRows:
    """Rows refused for one reason."""

    reason: str
    rows: int
    first: str
    """File and line (or row) of the first of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareReport:
    """What a preparation did."""

    manifest: Manifest
    was_done: bool
    """Whether the same data set was there already, so that nothing was left to do."""

    seconds: float = 0.0
    examples: int = 0
    """Examples that were tokenised; with packing, documents."""

    tokens: int = 0
    truncated: int = 0
    rejected: tuple[RejectedRows, ...] = ()
    parts: int = 0
    reused_parts: int = 0
    """Parts that an earlier, interrupted start had finished."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    options: PrepareOptions
    inputs: Inputs
    work: Path
    on_progress: Callable[[Progress], None]


def prepare(options: PrepareOptions, *, on_progress: Callable[[Progress], None]) -> PrepareReport:
    """Prepare a data set and publish it.

    Args:
        options: What to read, how to cut it, where to put it.
        on_progress: Called now and then, in this process.

    Raises:
        ConfigError: The options do not fit each other, or other data is at the output.
        DataError: A source is missing or unreadable, or no row is left.
    """
    if problems := options.problems():
        raise ConfigError("; ".join(problems))
    inputs = find_inputs(options)
    if (finished := finished_data(options, inputs)) is not None:
        return PrepareReport(manifest=finished, was_done=True)
    work = work_directory(options, inputs)
    try:
        return _made(_Job(options=options, inputs=inputs, work=work, on_progress=on_progress))
    except (ConfigError, DataError):
        discard_useless_work(work, inputs)
        raise


def _made(job: _Job) -> PrepareReport:
    """Make the data set, from its first row to its publication."""
    started, options = time.monotonic(), job.options
    tokenizer, labels = _surveyed(job)
    recipe = _recipe(job, tokenizer, labels=labels)
    parts = _tokenised(job, recipe)
    rejections = merged(one for part in parts for one in part.rejections)
    _check_rest(parts, rejections)
    _publish(job, parts, tokenizer=tokenizer, recipe=recipe)
    remove_work(options.output_uri)
    size = _total(parts)
    return PrepareReport(
        manifest=read_manifest(options.output_uri),
        was_done=False,
        seconds=time.monotonic() - started,
        examples=size.rows,
        tokens=size.tokens,
        truncated=sum(part.truncated for part in parts),
        rejected=tuple(_located(one) for one in rejections),
        parts=len(parts),
        reused_parts=sum(part.is_reused for part in parts),
    )


def _surveyed(job: _Job) -> tuple[Any, tuple[str, ...] | None]:
    """Return tokenizer and labels, both kept in the work directory for the next start."""
    saved, directory = job.work / _SURVEY, job.work / TOKENIZER_DIRECTORY
    if not saved.exists():
        tokenizer, labels = survey(_surveying(job), job.options)
        directory.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(directory)
        storage.write_bytes(str(saved), json.dumps(labels).encode())
    labels = json.loads(saved.read_bytes())
    return load_tokenizer(str(directory)), None if labels is None else tuple(labels)


def _surveying(job: _Job) -> Iterator[RawRows]:
    meter = ReadingMeter(job.inputs.files)
    for rows in meter.watched(job.inputs.rows(job.options)):
        yield rows
        job.on_progress(Progress(stage="surveying", share=meter.share))


def _recipe(job: _Job, tokenizer: Any, *, labels: tuple[str, ...] | None) -> Recipe:
    options = job.options
    return Recipe(
        tokenizer_path=str(job.work / TOKENIZER_DIRECTORY / "tokenizer.json"),
        max_length=options.max_length,
        packs=options.packs,
        has_types=options.columns.text_pair is not None and tells_pairs_apart(tokenizer),
        labels=labels,
        validation_fraction=options.sources.validation_fraction,
        language=options.language,
    )


def _tokenised(job: _Job, recipe: Recipe) -> list[Part]:
    meter = ReadingMeter(job.inputs.files)
    parts: list[Part] = []
    size = Size(rows=0, tokens=0)
    for part in encoded_parts(
        meter.watched(job.inputs.rows(job.options)),
        recipe,
        directory=job.work,
        num_processes=job.options.num_processes,
    ):
        parts.append(part)
        size += part.size
        job.on_progress(
            Progress(stage="tokenising", share=meter.share, examples=size.rows, tokens=size.tokens)
        )
    return parts


def _check_rest(parts: list[Part], rejections: tuple[Rejection, ...]) -> None:
    if any(split == TRAIN for part in parts for split, _ in part.sizes):
        return
    located = [_located(one) for one in rejections]
    reasons = [f"{one.rows} {one.reason} (first: {one.first})" for one in located]
    message = "no rows are left to train on: " + (
        f"all were rejected: {'; '.join(reasons)}" if reasons else "every source is empty"
    )
    raise DataError(message)


def _publish(job: _Job, parts: list[Part], *, tokenizer: Any, recipe: Recipe) -> None:
    options = job.options
    info = tokenizer_info(tokenizer)
    schema = row_schema(
        info.vocab_size,
        has_label=options.columns.label is not None,
        has_words=options.columns.words is not None,
        has_types=recipe.has_types,
    )
    layout = packed_layout(tokenizer, max_length=options.max_length) if options.packs else None

    def report(number: int) -> None:
        job.on_progress(Progress(stage="writing", share=number / len(parts)))

    # What has been made is worth waiting for.
    with (
        storage.patience(PATIENCE_SECONDS),
        publishing(options.output_uri, kind=KIND) as publication,
    ):
        shutil.copytree(job.work / TOKENIZER_DIRECTORY, publication.path / TOKENIZER_DIRECTORY)
        assembly = Assembly(publication.path, schema, layout=layout)
        splits = assembly.write(parts, report)
        publication.content = manifest_content(
            Manifest(
                uri=options.output_uri,
                fingerprint="",
                languages=_languages(splits),
                tokenizer=info,
                max_length=assembly.max_length,
                labels=recipe.labels if options.columns.label else None,
                word_labels=recipe.labels if options.columns.words else None,
                has_token_types=recipe.has_types,
                options=recorded_options(options, job.inputs),
                splits=splits,
            )
        )


def _languages(splits: dict[str, tuple[Shard, ...]]) -> tuple[str, ...]:
    return tuple(sorted({shard.language for shards in splits.values() for shard in shards}))


def _total(parts: list[Part]) -> Size:
    return sum((part.size for part in parts), start=Size(rows=0, tokens=0))


def _located(rejection: Rejection) -> RejectedRows:
    first = place(rejection.uri, unit=rejection.unit, number=rejection.number)
    return RejectedRows(reason=rejection.reason, rows=rejection.rows, first=first)
