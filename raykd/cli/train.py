"""Train a model, from a teacher or alone. The same command again continues the run."""

import argparse
from bdb import BdbQuit
from pathlib import Path

from raykd.cli.interrupts import interruptible
from raykd.cli.problems import preparation_told
from raykd.cli.quiet import quiet_libraries
from raykd.config.load import load_run
from raykd.machine.allocator import keep_large_blocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd train``."""
    add_run_arguments(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="remove what this run has left, and start over"
    )
    parser.add_argument(
        "--address",
        default="local",
        metavar="HOST",
        help="Ray cluster to join, such as auto; default: a Ray of its own on this machine",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare a run file and its overrides."""
    parser.add_argument("config", type=Path, metavar="RUN.yaml", help="what to run")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="replace one value; see raykd explain"
    )


def run(options: argparse.Namespace) -> int:
    """Train; return 0 when the run is done and 1 when it was stopped before."""
    # Before the first thread, which reaches the store.
    keep_large_blocks()
    config = load_run(options.config, options.overrides)
    quiet_libraries()
    # Imported here: torch and Ray take seconds, and --help must be instant.
    from raykd.cli.progress import RunDisplay, print_result  # noqa: PLC0415
    from raykd.cli.start import start_lines  # noqa: PLC0415
    from raykd.planning.run_plan import plan_run, require_runnable  # noqa: PLC0415
    from raykd.train.run import Listener, train_run  # noqa: PLC0415

    plan = plan_run(config, fresh=options.fresh)
    with preparation_told([options.config], [config.data.uri]):
        require_runnable(plan)
    has_workers = config.cluster.num_workers > 0
    with (
        RunDisplay(num_steps=plan.num_steps, is_live=has_workers) as display,
        interruptible() as stopped,
    ):
        for line in (f"{plan.run_uri}: {plan.found}", *plan.remarks):
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
        except BdbQuit:
            display.message("raykd: ended in the debugger; the same command goes on")
            return 1
    print_result(result, run_uri=plan.run_uri)
    return 0 if result.is_done else 1
