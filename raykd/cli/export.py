"""Write the model of a run or checkpoint as a transformers directory with a model card."""

import argparse

from raykd.cli.quiet import quiet_libraries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd export``."""
    parser.add_argument(
        "uri", metavar="RUN_URI", help="directory of a run, or of one of its checkpoints"
    )
    parser.add_argument(
        "--output", required=True, metavar="URI", help="directory to appear, local or remote"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a model that was exported there"
    )
    parser.add_argument(
        "--language",
        metavar="CODE",
        help="of a student with a projection per language: the plain model of one",
    )
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="publish at once; without it the model is loaded by transformers alone, and its "
        "scores of a few texts are compared with the student's",
    )


def run(options: argparse.Namespace) -> int:
    """Export, and say where the model is."""
    quiet_libraries()
    # Imported here: torch takes seconds, and --help must be instant.
    from raykd.train.restored import export_run  # noqa: PLC0415

    step = export_run(
        options.uri,
        options.output,
        language=options.language,
        overwrites=options.overwrite,
        checks=not options.no_check,
    )
    print(f"model after step {step}: {options.output}")
    return 0
