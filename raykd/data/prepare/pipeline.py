"""Text in, prepared data set out: restartable, and the same bytes every time.

sources -> rows -> parts (tokenised, kept across restarts) -> shards -> published directory
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from transformers import PreTrainedTokenizerFast

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
from raykd.data.prepare.examples import Recipe
from raykd.data.prepare.existing import (
    discard_useless_work,
    existing_data,
    recorded_options,
    remove_work,
    work_directory,
)
from raykd.data.prepare.inputs import Inputs, ReadingMeter, find_inputs
from raykd.data.prepare.packing import packed_layout
from raykd.data.prepare.parts import Part, Tokenisers, Work
from raykd.data.prepare.processes import Processes
from raykd.data.prepare.raw_rows import Finding, RawRows, merged
from raykd.data.prepare.report import PrepareReport, Progress, located
from raykd.data.prepare.survey import kept_survey
from raykd.data.prepare.writer import Size
from raykd.data.tokenizers import tells_pairs_apart, tokenizer_info
from raykd.errors import ConfigError, DataError
from raykd.storage import uris
from raykd.storage.published.publishing import publishing
from raykd.storage.remote.retry_limit import RETRY_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    options: PrepareOptions
    inputs: Inputs
    tokenisers: Tokenisers
    work_uri: str
    on_progress: Callable[[Progress], None]
    is_renewed: bool
    """Whether the same command has been there before, when its inputs held something else."""


def prepare(
    options: PrepareOptions,
    *,
    on_progress: Callable[[Progress], None],
    tokenisers: Tokenisers | None = None,
) -> PrepareReport:
    """Prepare a data set and publish it.

    Args:
        options: What to read, how to cut it, where to put it.
        on_progress: Called now and then, in this process.
        tokenisers: Who tokenises; no influence on the result. Processes of this machine, as
            many as the options say, if none are given.

    Raises:
        ConfigError: The options do not fit each other, or other data is at the output.
        DataError: A source is missing or unreadable, or no row is left.
    """
    if problems := options.problems():
        raise ConfigError("; ".join(problems))
    inputs = find_inputs(options)
    existing = existing_data(options, inputs)
    if existing is not None and existing.is_current:
        return PrepareReport(manifest=existing.manifest, was_done=True)
    tokenisers = tokenisers or Processes(options.num_processes)
    work_uri = work_directory(options, inputs, is_shared=tokenisers.are_elsewhere)
    job = _Job(
        options=options,
        inputs=inputs,
        tokenisers=tokenisers,
        work_uri=work_uri,
        on_progress=on_progress,
        is_renewed=existing is not None,
    )
    try:
        return replace(_made(job), was_changed=existing is not None)
    except (ConfigError, DataError):
        discard_useless_work(work_uri, inputs)
        raise


def _made(job: _Job) -> PrepareReport:
    """Make the data set, from its first row to its publication."""
    started, options = time.monotonic(), job.options
    tokenizer, labels = kept_survey(_surveying(job), options, work_uri=job.work_uri)
    recipe = _recipe(job, tokenizer, labels=labels)
    finished = uris.list_names(job.work_uri)
    parts = _tokenised(job, recipe)
    rejections = merged(one for part in parts for one in part.rejections)
    _check_rest(parts, rejections)
    _publish(job, parts, tokenizer=tokenizer, recipe=recipe)
    # Once the data set is committed: until then the parts are what another start goes on from.
    remove_work(options.output_uri, is_shared=job.tokenisers.are_elsewhere)
    size = _total(parts)
    return PrepareReport(
        manifest=read_manifest(options.output_uri),
        was_done=False,
        seconds=time.monotonic() - started,
        examples=size.rows,
        tokens=size.tokens,
        truncated=sum(part.truncated for part in parts),
        rejected=tuple(map(located, rejections)),
        remarks=tuple(map(located, merged(one for part in parts for one in part.remarks))),
        parts=len(parts),
        reused_parts=len({part.name for part in parts} & set(finished)),
    )


def _surveying(job: _Job) -> Iterator[RawRows]:
    meter = ReadingMeter(job.inputs.files)
    for rows in meter.watched(job.inputs.rows(job.options)):
        yield rows
        job.on_progress(Progress(stage="surveying", share=meter.share))


def _recipe(
    job: _Job, tokenizer: PreTrainedTokenizerFast, *, labels: tuple[str, ...] | None
) -> Recipe:
    options = job.options
    return Recipe(
        tokenizer_uri=uris.join(job.work_uri, TOKENIZER_DIRECTORY, "tokenizer.json"),
        max_length=options.max_length,
        truncation_side=tokenizer.truncation_side,
        packs=options.packs,
        has_types=options.columns.text_pair is not None and tells_pairs_apart(tokenizer),
        labels=labels,
        label_type=options.label_type,
        validation_fraction=options.sources.validation_fraction,
        language=options.language,
    )


def _tokenised(job: _Job, recipe: Recipe) -> list[Part]:
    meter = ReadingMeter(job.inputs.files)
    work = Work(inputs=job.inputs, options=job.options, recipe=recipe, uri=job.work_uri)
    parts: list[Part] = []
    size = Size(rows=0, tokens=0)
    with closing(job.tokenisers.parts(work, meter)) as finished:
        for part in finished:
            parts.append(part)
            size += part.size
            job.on_progress(
                Progress(
                    stage="tokenising",
                    share=meter.share,
                    examples=size.rows,
                    tokens=size.tokens,
                )
            )
    # They may be finished in any order; their names have that of the rows.
    return sorted(parts, key=lambda part: part.name)


def _check_rest(parts: list[Part], rejections: tuple[Finding, ...]) -> None:
    if any(split == TRAIN for part in parts for split, _ in part.sizes):
        return
    rejected = [located(one) for one in rejections]
    reasons = [f"{one.count} {one.what} (first: {one.first})" for one in rejected]
    message = "no rows are left to train on: " + (
        f"all were rejected: {'; '.join(reasons)}" if reasons else "every source is empty"
    )
    raise DataError(message)


def _publish(
    job: _Job, parts: list[Part], *, tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> None:
    options = job.options
    info = tokenizer_info(tokenizer)
    row_labels = recipe.labels if options.columns.label else None
    schema = row_schema(
        info.vocab_size,
        labels=row_labels,
        has_words=options.columns.words is not None,
        has_types=recipe.has_types,
    )
    layout = packed_layout(tokenizer, max_length=options.max_length) if options.packs else None

    def report(number: int) -> None:
        job.on_progress(Progress(stage="writing", share=number / len(parts)))

    # What has been made is worth waiting for.
    with (
        uris.retry_for(RETRY_SECONDS),
        publishing(
            options.output_uri, kind=KIND, overwrites=options.overwrites or job.is_renewed
        ) as publication,
    ):
        with uris.local_copy(uris.join(job.work_uri, TOKENIZER_DIRECTORY)) as path:
            shutil.copytree(path, publication.path / TOKENIZER_DIRECTORY)
        assembly = Assembly(publication.path, schema, layout=layout)
        splits = assembly.write(parts, report)
        publication.content = manifest_content(
            Manifest(
                uri=options.output_uri,
                fingerprint="",
                languages=_languages(splits),
                tokenizer=info,
                max_length=assembly.max_length,
                labels=row_labels,
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
