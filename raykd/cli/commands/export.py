"""Write the model of a run or checkpoint as a transformers directory with a model card."""

import argparse

from raykd.train.restored import export_run


def run(options: argparse.Namespace) -> int:
    """Export, and say where the model is."""
    step = export_run(
        options.uri,
        options.output,
        language=options.language,
        overwrites=options.overwrite,
        checks=not options.no_check,
    )
    print(f"model after step {step}: {options.output}")
    return 0
