"""Train a model, from a teacher or alone."""

import argparse
from bdb import BdbQuit

from raykd.cli.interrupts import interruptible
from raykd.cli.problems import preparation_told
from raykd.cli.progress import RunDisplay, print_result
from raykd.cli.start import start_lines
from raykd.config.schema.run import RunConfig
from raykd.planning.run_plan import plan_run, require_runnable
from raykd.train.run import Listener, train_run


def run(options: argparse.Namespace, config: RunConfig) -> int:
    """Train; return 0 when the run is done and 1 when it was stopped before."""
    plan = plan_run(config, fresh=options.fresh)
    with preparation_told([options.config], [config.data.uri]):
        require_runnable(plan)
    has_workers = config.cluster.num_workers > 0
    with (
        RunDisplay(num_steps=plan.num_steps, is_live=has_workers) as display,
        interruptible() as stopped,
    ):
        for line in (f"{plan.run_uri}: {plan.progress}", *plan.remarks):
            display.message(line)
        for line in plan.others:
            display.message(f"changed: {line}; another run begins")
        if plan.start is not None:
            for line in start_lines(plan.start):
                display.message(f"init: {line}")
        try:
            result = train_run(
                config,
                fresh=options.fresh,
                address=options.address,
                listener=Listener(
                    on_record=display.show, on_message=display.message, should_stop=stopped.is_set
                ),
            )
        # q in a breakpoint: an end that the user chose, with the last checkpoint in place.
        except BdbQuit:
            display.message("raykd: ended in the debugger; the same command goes on")
            return 1
    print_result(result, run_uri=plan.run_uri)
    return 0 if result.is_done else 1
