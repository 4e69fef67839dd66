"""Run a sweep: stages, trials, controls. The same command again goes on where it stands."""

import argparse
import os
import shlex
from collections import Counter
from pathlib import Path

from raykd.cli.problems import files_of, preparation_told
from raykd.cli.quiet import quiet_libraries
from raykd.config.load import load_sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd sweep``."""
    parser.add_argument("config", type=Path, metavar="SWEEP.yaml", help="what to run")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="replace a value of the sweep, or of all its runs; see raykd explain --sweep",
    )
    parser.add_argument(
        "--address",
        default="local",
        metavar="HOST",
        help="Ray cluster to join, such as auto; default: a Ray of its own on this machine",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try failed runs again, from their checkpoints"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="COORDINATE=VALUE",
        help="run these trials and their controls alone, such as teacher=small; may be repeated",
    )


def run(options: argparse.Namespace) -> int:
    """Run the sweep; return 0 where every run asked for is done or stopped early, else 1."""
    sweep = load_sweep(options.config, options.overrides)
    quiet_libraries()
    # Imported here: torch and Ray take seconds, and --help must be instant.
    from raykd.cli.interrupts import interruptible  # noqa: PLC0415
    from raykd.cli.report import report_console, write  # noqa: PLC0415
    from raykd.cli.sweep_progress import SweepDisplay  # noqa: PLC0415
    from raykd.sweep.ledger import State, SweepPaths  # noqa: PLC0415
    from raykd.sweep.plan.plan import plan_sweep, require_runnable  # noqa: PLC0415
    from raykd.tune.machines import reachable_machines  # noqa: PLC0415
    from raykd.tune.run import SweepOptions, run_sweep  # noqa: PLC0415

    with reachable_machines(options.address) as machines, SweepDisplay() as display:
        plan = plan_sweep(sweep, machines=machines)
        with preparation_told(files_of(options.config, sweep), plan.data_uris):
            require_runnable(plan)
        display.plan(plan)
        with interruptible() as stopped:
            ledger = run_sweep(
                plan,
                SweepOptions(
                    address=options.address,
                    retries_failed=options.retry_failed,
                    only=options.only,
                    command=_that_goes_on(options),
                ),
                on_step=display.show,
                should_stop=stopped.is_set,
            )
    console = report_console()
    console.print()
    console.print(write(ledger, SweepPaths(sweep=ledger.uri).report)[1], crop=False)
    states = Counter(record.state for record in ledger.records.values())
    # With --only, those that wait were not asked for.
    num_waiting = 0 if options.only and not stopped.is_set() else states[State.WAITING]
    if num_waiting:
        console.print(
            f"{'stopped' if stopped.is_set() else 'the time is over'}: {num_waiting} of "
            f"{len(ledger.records)} runs are not done; the same command continues"
        )
    return 1 if num_waiting or states[State.FAILED] or states[State.BLOCKED] else 0


def _that_goes_on(options: argparse.Namespace) -> str:
    """Return the command that goes on with the sweep, as its user would type it."""
    words = ["sweep", str(options.config), *options.overrides]
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        # Ray sets it for the jobs of a cluster.
        return shlex.join(["raykd", "submit", *words])
    address = [] if options.address == "local" else ["--address", options.address]
    return shlex.join(["raykd", *words, *address])
