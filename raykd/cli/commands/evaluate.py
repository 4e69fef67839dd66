"""Score the model of a run, or one of its checkpoints, beside its teacher."""

import argparse
import sys

from raykd import strict_json
from raykd.cli.progress import print_metrics
from raykd.train.restored import evaluate_run


def run(options: argparse.Namespace) -> int:
    """Print the metrics."""

    def tell(line: str) -> None:
        print(f"changed: {line}", file=sys.stderr)

    metrics = evaluate_run(options.uri, data_uri=options.data, split=options.split, on_change=tell)
    if options.json:
        print(strict_json.text(metrics, indent=1))
    else:
        print_metrics(metrics)
    return 0
