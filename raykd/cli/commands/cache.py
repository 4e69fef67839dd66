"""Compute what the teachers of a run say once, and keep it; runs do so themselves otherwise."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from raykd.cached_teachers.build import ensure_caches, planned_caches, told_in_lines
from raykd.cached_teachers.writer import CacheWatch, Workers
from raykd.cli.interrupts import interruptible
from raykd.cli.problems import preparation_told
from raykd.cli.tables import plain_table
from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError
from raykd.machine.process import prepare_process
from raykd.planning.run_plan import plan_run, require_runnable
from raykd.ray_cluster.connect import ray_of_workers
from raykd.runs.inputs import pinned
from raykd.teachers.cache.planner import ModePlan


def run(options: argparse.Namespace, config: RunConfig) -> int:
    """Build the caches or print the plan; return 1 when it was stopped before."""
    if not any(teacher.cache for teacher in config.teachers.values()):
        message = (
            f"{options.config}: no teacher has a cache; add teachers.NAME.cache={{}}, see raykd "
            "explain teachers.NAME.cache"
        )
        raise ConfigError(message)
    if options.address is not None and config.cluster.num_workers == 0:
        message = "--address: cluster.num_workers is 0, so that there are no workers: set it to 1"
        raise ConfigError(message)
    with preparation_told([options.config], [config.data.uri]):
        require_runnable(plan_run(config))
    # A teacher is asked, and timed, as fast as a run would ask it.
    prepare_process(cores=None)
    config = pinned(config)
    with _workers(config, options.address) as workers:
        return _plan(config, workers) if options.plan else _build(config, workers)


@contextmanager
def _workers(config: RunConfig, address: str | None) -> Iterator[Workers | None]:
    """Yield who asks the teachers, connected to their cluster; None is this process."""
    if address is None:
        yield None
        return
    with ray_of_workers(address, config.cluster):
        # Imported here: Ray's environment is set above.
        from raykd.train.on_ray.cache_workers import cache_workers  # noqa: PLC0415

        yield cache_workers


def _plan(config: RunConfig, workers: Workers | None) -> int:
    console = Console(highlight=False, soft_wrap=True)
    watch = CacheWatch(on_message=print)
    for name, plans in planned_caches(config, watch=watch, workers=workers).items():
        console.print(f"teacher {name}", markup=False)
        console.print(plan_table(plans))
    return 0


def plan_table(plans: list[ModePlan]) -> Table:
    """Return what the ways to keep a teacher's outputs cost and change, as a table."""
    table = plain_table(
        *("mode", "bytes/token", "GB", "mass", "KL error", "grad error", "angle", "read"),
        folds=False,
    )
    for plan in plans:
        table.add_row(
            str(plan.payload),
            f"{plan.bytes_per_token:,.1f}",
            f"{plan.num_bytes / 1e9:,.3f}",
            f"{plan.captured_mass:.3f}",
            "-" if plan.kl_error is None else f"{plan.kl_error:.2%}",
            f"{plan.gradient_error:.2%}",
            f"{plan.angle_degrees:.2f}°",
            f"{plan.read_share:.1%}",
        )
    return table


def _build(config: RunConfig, workers: Workers | None) -> int:
    def tell(line: str) -> None:
        print(line, flush=True)

    with interruptible() as stopped:
        watch = CacheWatch(
            on_message=tell, on_progress=told_in_lines(tell), should_stop=stopped.is_set
        )
        is_whole = ensure_caches(config, watch=watch, workers=workers)
    print("the caches are complete" if is_whole else "stopped; the same command goes on")
    return 0 if is_whole else 1
