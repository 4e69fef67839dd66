"""Turn text into a prepared data set."""

import argparse
import logging
from collections.abc import Iterator

from raykd.cli.prepare_on_ray import RayTokenisers
from raykd.cli.prepare_progress import shown_progress
from raykd.config.schema.prepare import (
    NUMBER,
    VALIDATION,
    ColumnOptions,
    PrepareOptions,
    SourceOptions,
    TokenizerOptions,
)
from raykd.data.manifest import Manifest
from raykd.data.prepare.columns import as_name
from raykd.data.prepare.pipeline import prepare
from raykd.data.prepare.report import PrepareReport
from raykd.errors import ConfigError
from raykd.tasks.entities import why_no_entities


def run(options: argparse.Namespace) -> int:
    """Prepare the data set, show how far it is, and print what came out; return 0."""
    if options.address != "local" and not options.distributed:
        message = f"--address {options.address} is of no use without --distributed"
        raise ConfigError(message)
    # What datasets logs about an unreadable file is in the error that names the file.
    logging.getLogger("datasets").setLevel(logging.CRITICAL)
    on_ray = RayTokenisers(address=options.address, num_cpus=options.num_processes)
    with shown_progress() as on_progress:
        report = prepare(
            _prepare_options(options),
            on_progress=on_progress,
            tokenisers=on_ray if options.distributed else None,
        )
    print("\n".join(_summary(report)))
    return 0


def _prepare_options(given: argparse.Namespace) -> PrepareOptions:
    is_docs, is_names = given.demo == "stdlib-docs", given.demo == "cldr-names"
    fraction = given.validation_fraction
    max_length = given.max_length
    return PrepareOptions(
        sources=SourceOptions(
            demo=given.demo,
            train=tuple(given.sources),
            splits=_splits(given),
            # The defaults of a demonstration are its own: what is given on the command line
            # counts.
            validation_fraction=(0.1 if is_names else 0.0) if fraction is None else fraction,
            file_format=given.format,
            document=given.document,
            # A shell hands on a backslash and a t.
            delimiter=None if given.delimiter is None else given.delimiter.replace(r"\t", "\t"),
            quoting=given.quoting,
            hub_config=given.hub_config,
            hub_split=given.hub_split,
            hub_validation_split=given.hub_validation_split,
        ),
        columns=ColumnOptions(
            text=given.text_column,
            text_pair=given.text_pair_column,
            label="label" if is_names else given.label_column,
            words=given.word_column,
            word_labels=given.word_label_column,
            language=given.language_column,
        ),
        tokenizer=TokenizerOptions(
            source=given.tokenizer,
            kind=given.tokenizer_type,
            vocab_size=given.vocab_size,
            lowercase=given.lowercase or given.demo is not None,
        ),
        output_uri=given.output,
        task=given.task,
        language=given.language.strip(),
        labels=None if given.labels is None else tuple(map(as_name, given.labels.split(","))),
        label_type=given.label_type,
        packs=given.pack or is_docs,
        max_length=(32 if is_names else 128) if max_length is None else max_length,
        num_processes=given.num_processes,
        overwrites=given.overwrite,
    )


def _splits(given: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    """Return the sources of each split that is not trained on, sorted by its name.

    Raises:
        ConfigError: One has no name or no source.
    """
    splits = {VALIDATION: tuple(given.validation)} if given.validation else {}
    for first, *more in given.split:
        name, _, source = first.partition("=")
        if not source:
            message = f"--split {first}: give it as NAME=SOURCES, such as test=data/test.parquet"
            raise ConfigError(message)
        splits[name] = (*splits.get(name, ()), source, *more)
    # Sorted: the same data, in whatever order they are named.
    return dict(sorted(splits.items()))


def _summary(report: PrepareReport) -> Iterator[str]:
    manifest = report.manifest
    if report.was_done:
        yield f"{manifest.uri}: is there already, prepared with these options"
    if report.was_changed:
        yield f"changed      {manifest.uri}: sources or tokenizer had changed, prepared again"
    for split, shards in sorted(manifest.splits.items()):
        rows, tokens = sum(s.rows for s in shards), sum(s.tokens for s in shards)
        yield f"{split:<12} {rows:>12,} rows {tokens:>14,} tokens {len(shards):>6} files"
    codes = manifest.languages
    shown = ", ".join(codes[:40]) + (", ..." if len(codes) > 40 else "")  # noqa: PLR2004 - a line
    yield f"languages    {len(codes)}: {shown}"
    yield from _label_summary(manifest)
    vocabulary = manifest.tokenizer
    yield f"tokenizer    {vocabulary.vocab_size:,} ids, fingerprint {vocabulary.fingerprint[:12]}"
    if not report.was_done:
        yield from _work_summary(report)
    yield f"prepared     {manifest.uri}"


def _label_summary(manifest: Manifest) -> Iterator[str]:
    for name, labels in (("labels", manifest.labels), ("word labels", manifest.word_labels)):
        if labels == NUMBER:
            yield f"{name:<12} 1 number"
        elif labels is not None:
            yield f"{name:<12} {len(labels)}: {', '.join(labels[:40])}"
    if manifest.labels and _look_like_numbers(manifest.labels):
        yield (
            f"{'noted':<12} all labels are numbers, taken for the names of {len(manifest.labels)} "
            "classes; to predict the numbers prepare with --label-type number"
        )
    if manifest.word_labels is not None and (reason := why_no_entities(manifest.word_labels)):
        yield f"{'noted':<12} {reason}"


def _look_like_numbers(labels: tuple[str, ...]) -> bool:
    """Tell whether all labels are numbers, and some have fractions, which ids of classes have not.

    1.0 is how a table writes 1.
    """
    try:
        return any(float(label) % 1 for label in labels)
    except ValueError:
        return False


def _work_summary(report: PrepareReport) -> Iterator[str]:
    rate = report.tokens / report.seconds
    yield (
        f"tokenised    {report.examples:,} texts, {report.tokens:,} tokens in "
        f"{report.seconds:.1f} s ({rate:,.0f} tokens/s), {report.truncated:,} truncated"
    )
    if report.reused_parts:
        yield f"reused       {report.reused_parts} of {report.parts} parts of an earlier start"
    for one in report.rejected:
        yield f"rejected     {one.count:,} rows: {one.what} (first: {one.first})"
    for one in report.remarks:
        yield f"noted        {one.count:,} {one.what} (first: {one.first})"
