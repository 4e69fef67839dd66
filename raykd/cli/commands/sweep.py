"""Run a sweep. The same command again goes on where it stands."""

import argparse
import os
import shlex
from collections import Counter

from raykd.cli.commands.check_power import power_of, power_warnings
from raykd.cli.commands.report import report_console, write
from raykd.cli.interrupts import interruptible
from raykd.cli.problems import files_of, preparation_told
from raykd.cli.sweep_progress import SweepDisplay
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.ledger import SweepPaths
from raykd.sweep.plan.plan import plan_sweep, require_runnable
from raykd.sweep.record import State
from raykd.tune.machines import reachable_machines
from raykd.tune.run import SweepOptions, run_sweep


def run(options: argparse.Namespace, sweep: SweepConfig) -> int:
    """Run the sweep; return 0 where every run asked for is done or stopped early, else 1."""
    with reachable_machines(options.address) as machines, SweepDisplay() as display:
        plan = plan_sweep(sweep, machines=machines, retries_failed=options.retry_failed)
        with preparation_told(files_of(options.config, sweep), plan.data_uris):
            require_runnable(plan)
        display.plan(plan)
        for warning in power_warnings(power_of(plan)):
            display.warn(warning)
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
                on_plan=display.decided,
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
