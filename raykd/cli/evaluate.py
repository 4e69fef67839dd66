"""Score the model of a run, or one of its checkpoints, beside its teacher."""

import argparse
import sys

from raykd import strict_json
from raykd.cli.quiet import quiet_libraries


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd evaluate``."""
    parser.add_argument(
        "uri", metavar="RUN_URI", help="directory of a run, or of one of its checkpoints"
    )
    parser.add_argument("--data", metavar="URI", help="other prepared data than the run's")
    parser.add_argument("--split", help="split to score; default: the run's data.eval_split")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the metrics."""
    quiet_libraries()
    # Imported here: torch takes seconds, and --help must be instant.
    from raykd.cli.progress import print_metrics  # noqa: PLC0415
    from raykd.train.restored import evaluate_run  # noqa: PLC0415

    def tell(line: str) -> None:
        print(f"changed: {line}", file=sys.stderr)

    metrics = evaluate_run(options.uri, data_uri=options.data, split=options.split, on_change=tell)
    if options.json:
        print(strict_json.text(metrics, indent=1))
    else:
        print_metrics(metrics)
    return 0
