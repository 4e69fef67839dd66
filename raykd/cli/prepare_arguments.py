"""The arguments of ``raykd prepare``; see ``arguments``."""

import argparse
from typing import get_args

from raykd.config.schema.prepare import UNDETERMINED, Demo, Format, LabelType, Quoting, Task
from raykd.machine.cores import usable_cores


def prepare(parser: argparse.ArgumentParser) -> None:
    """Turn text into a prepared data set.

    The same command again finds the work done, or does it again where sources or tokenizer hold
    something else, wherever they lie. Of a file up to 4 MiB all bytes count; of a larger one its
    size, 16 blocks of it and the time of its last change, earlier or later; in a store size and
    ETag; of a data set on the Hub its name.
    """
    parser.add_argument("--output", required=True, metavar="URI", help="directory to publish")
    parser.add_argument("--overwrite", action="store_true", help="replace other data there")
    parser.add_argument(
        "--num-processes",
        type=int,
        # Not os.cpu_count(): a container or a job may use fewer than the machine has.
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
        "--split",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME=SOURCES", "SOURCES"),
        help="another split, such as test=data/test.parquet; again for each, or for more of one",
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
    group.add_argument("--label-column", metavar="NAME", help="class or number of the row")
    group.add_argument(
        "--label-type",
        choices=get_args(LabelType),
        default="class",
        help="what the label of a row is: a class, or a number to predict (default: %(default)s)",
    )
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
