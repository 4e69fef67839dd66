"""Text in, prepared data set out.

The same command again finds the work done, or does it again where sources or tokenizer hold
something else, wherever they lie. Of a file up to 4 MiB all bytes count; of a larger one its size,
16 blocks of it and the time of its last change, earlier or later; in a store size and ETag; of a
data set on the Hub its name.
"""

import argparse
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from raykd.cli.prepare_on_ray import RayTokenisers
from raykd.cli.prepare_progress import shown_progress
from raykd.cli.quiet import quiet_libraries
from raykd.config.schema.prepare import (
    UNDETERMINED,
    ColumnOptions,
    Demo,
    Format,
    PrepareOptions,
    Quoting,
    SourceOptions,
    Task,
    TokenizerOptions,
)
from raykd.errors import ConfigError
from raykd.machine.cores import usable_cores

if TYPE_CHECKING:
    from raykd.data.prepare.report import PrepareReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``raykd prepare`` to its parser."""
    parser.add_argument("--output", required=True, metavar="URI", help="directory to publish")
    parser.add_argument("--overwrite", action="store_true", help="replace other data there")
    parser.add_argument(
        "--num-processes",
        type=int,
        default=usable_cores(),
        metavar="N",
        help="processes that tokenise (default: the cores, %(default)s); no influence on the "
        "result",
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="read and tokenise on a Ray cluster: the same result; every node must reach the "
        "sources and --output",
    )
    parser.add_argument(
        "--address",
        default="local",
        metavar="HOST",
        help="Ray cluster for --distributed, such as auto; default: a Ray of its own on this "
        "machine, of --num-processes cores",
    )
    _add_sources(parser.add_argument_group("sources"))
    _add_columns(parser.add_argument_group("columns"))
    _add_examples(parser.add_argument_group("examples"))
    _add_tokenizer(parser.add_argument_group("tokenizer"))


def run(options: argparse.Namespace) -> int:
    """Prepare the data set, show how far it is, and print what came out; return 0."""
    if options.address != "local" and not options.distributed:
        message = f"--address {options.address} is of no use without --distributed"
        raise ConfigError(message)
    quiet_libraries()
    from raykd.data.prepare.pipeline import prepare  # noqa: PLC0415 - imported here: --help must be instant

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


def _add_sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCES",
        help="files, directories, globs, URIs, or a Hub name",
    )
    group.add_argument("--demo", choices=get_args(Demo), help="text that is on every machine")
    group.add_argument(
        "--validation", nargs="+", default=[], metavar="SOURCES", help="the validation split"
    )
    group.add_argument(
        "--validation-fraction",
        type=float,
        metavar="F",
        help="share of the rows to split off for validation; equal texts stay together",
    )
    group.add_argument(
        "--format", choices=get_args(Format), help="of every file (default: by its ending)"
    )
    group.add_argument(
        "--document",
        choices=("line", "paragraph", "file"),
        default="line",
        help="one example of a text file (default: %(default)s)",
    )
    group.add_argument(
        "--delimiter",
        metavar="CHARACTER",
        help="between the fields of a CSV file (default: a tab, \\t, in .tsv files, else a comma)",
    )
    group.add_argument(
        "--quoting",
        choices=get_args(Quoting),
        help="of a CSV file: minimal lets a field stand in quotation marks and hold delimiters, "
        "line ends and doubled marks; none takes marks as text (default: none in .tsv files, as "
        "GLUE and XNLI have them, else minimal)",
    )
    group.add_argument("--hub-config", metavar="NAME", help="configuration of a Hub data set")
    group.add_argument("--hub-split", default="train", metavar="NAME")
    group.add_argument("--hub-validation-split", default="validation", metavar="NAME")


def _add_columns(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--text-column", default="text", metavar="NAME", help="(default: text)")
    group.add_argument("--text-pair-column", metavar="NAME", help="second text of a pair")
    group.add_argument("--label-column", metavar="NAME", help="class of the row")
    group.add_argument("--word-column", metavar="NAME", help="list of words, instead of text")
    group.add_argument("--word-label-column", metavar="NAME", help="list of their labels")
    group.add_argument(
        "--labels",
        metavar="A,B,...",
        help="allowed labels in the order of their ids (default: those of the training split)",
    )
    group.add_argument("--language-column", metavar="NAME", help="language of the row")
    group.add_argument(
        "--language",
        default=UNDETERMINED,
        metavar="CODE",
        help="language of every row without one (default: %(default)s)",
    )


def _add_examples(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--task", choices=get_args(Task), help="what for: checked before work")
    group.add_argument(
        "--pack",
        action="store_true",
        help="join documents and cut them to max-length (for language modelling) instead of "
        "one example a row",
    )
    group.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="tokens of the longest row (default: 128; 32 for cldr-names)",
    )


def _add_tokenizer(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tokenizer",
        metavar="NAME",
        help="directory, vocab.txt, tokenizer.json, URI or Hub name (default: train one)",
    )
    group.add_argument(
        "--tokenizer-type",
        choices=("wordpiece", "bpe"),
        default="wordpiece",
        help="of a trained one (default: %(default)s)",
    )
    group.add_argument("--vocab-size", type=int, default=8000, metavar="N", help="(default: 8000)")
    group.add_argument("--lowercase", action="store_true", help="train it blind to case")


def _prepare_options(given: argparse.Namespace) -> PrepareOptions:
    from raykd.data.prepare.columns import as_name  # noqa: PLC0415 - imported here: --help must be instant

    is_docs, is_names = given.demo == "stdlib-docs", given.demo == "cldr-names"
    fraction = given.validation_fraction
    max_length = given.max_length
    return PrepareOptions(
        sources=SourceOptions(
            demo=given.demo,
            train=tuple(given.sources),
            validation=tuple(given.validation),
            validation_fraction=(0.1 if is_names else 0.0) if fraction is None else fraction,
            file_format=given.format,
            document=given.document,
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
        packs=given.pack or is_docs,
        max_length=(32 if is_names else 128) if max_length is None else max_length,
        num_processes=given.num_processes,
        overwrites=given.overwrite,
    )


def _summary(report: "PrepareReport") -> Iterator[str]:
    from raykd.tasks.entities import why_no_entities  # noqa: PLC0415 - the same

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
    for name, labels in (("labels", manifest.labels), ("word labels", manifest.word_labels)):
        if labels is not None:
            yield f"{name:<12} {len(labels)}: {', '.join(labels[:40])}"
    if manifest.word_labels is not None and (reason := why_no_entities(manifest.word_labels)):
        yield f"{'noted':<12} {reason}"
    vocabulary = manifest.tokenizer
    yield f"tokenizer    {vocabulary.vocab_size:,} ids, fingerprint {vocabulary.fingerprint[:12]}"
    if not report.was_done:
        yield from _work_summary(report)
    yield f"prepared     {manifest.uri}"


def _work_summary(report: "PrepareReport") -> Iterator[str]:
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
