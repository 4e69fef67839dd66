"""What students cost behind one teacher in one process, and each with its own.

    python tests/bench/shared_process.py [--small] [--rounds N] [--json PATH]

Masked language modelling on rows of 128 tokens and 8,000 words: students of 4 layers of width 256,
which differ in the weight of the teacher's loss, and a teacher of 8 of width 512, one thread.
CPU seconds are those of steps alone, in processes of their own: the models, the first step, which
takes up the memory, and the last, which writes a checkpoint, are left out. The program fails where
a loss of a student differs between the ways. Memory is the peak of
one process, the imports of about 450 MB among it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from raykd.config.schema.run import RunConfig
from raykd.distill.shared import SharedTeachers
from raykd.distill.world import World
from raykd.machine.allocator import ONE_HEAP
from raykd.machine.process import prepare_process
from raykd.models.load import save_model
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.runs.result import RunResult
from raykd.runs.stop import StopReason
from raykd.train.turns import Pause, round_robin
from raykd.train.worker import Context, train_worker
from rich.console import Console
from rich.table import Table

from tests.bench.support.token_set import wide_bert, write_token_set
from tests.small_runs import small_run

SIZES = (2, 4)
STUDENT = {
    "model_type": "bert",
    "num_layers": 4,
    "hidden_size": 256,
    "num_heads": 4,
    "intermediate_size": 1024,
}
_TIMED_STEPS = 3

Figures = dict[str, Any]


def main() -> int:
    """Compare, or train some students where a parent process asks for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="less of everything, for a test")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file that gets every figure")
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=int, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.directory:
        print(json.dumps(trained(options.directory, options.weights, small=options.small)))
        return 0
    rounds = 1 if options.small else options.rounds
    found = [one_round(small=options.small) for _ in range(rounds)]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    Console(width=100).print(table_of(found))
    are_equal = all(figures["losses_equal"] for one in found for figures in one.values())
    print("losses equal" if are_equal else "LOSSES DIFFER")
    return 0 if are_equal else 1


def one_round(*, small: bool) -> dict[int, Figures]:
    """Return the figures of each number of students."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_token_set(directory / "data", num_rows=128, batch_rows=64)
        save_model(wide_bert(num_layers=2 if small else 8), directory / "teacher")
        sizes = SIZES[:1] if small else SIZES
        weights = list(range(1, max(sizes) + 1))
        apart = [in_process(directory, [weight], small=small) for weight in weights]
        return {size: compared(directory, apart[:size], small=small) for size in sizes}


def compared(directory: Path, apart: list[Figures], *, small: bool) -> Figures:
    """Train students together that have been trained one by one."""
    shared = in_process(directory, list(range(1, len(apart) + 1)), small=small)
    losses = [loss for one in apart for loss in one["losses"]]
    return {
        "apart_cpu_seconds": sum(one["cpu_seconds"] for one in apart),
        "shared_cpu_seconds": shared["cpu_seconds"],
        "apart_megabytes": max(one["megabytes"] for one in apart),
        "shared_megabytes": shared["megabytes"],
        "losses_equal": shared["losses"] == losses,
    }


def in_process(directory: Path, weights: list[int], *, small: bool) -> Figures:
    """Train students in a process of their own."""
    command = [sys.executable, __file__, "--directory", str(directory), "--weights"]
    command += [*map(str, weights), *(["--small"] if small else [])]
    environment = os.environ | ONE_HEAP | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def trained(directory: Path, weights: list[int], *, small: bool) -> Figures:
    """Train students here by turns; return what steps cost, and the losses of each."""
    torch.set_num_threads(1)
    prepare_process(cores=1)
    configs = {f"{weight}": config_of(directory, weight, len(weights)) for weight in weights}
    shared = SharedTeachers() if len(weights) > 1 else None
    clock: list[float] = []
    last = (1 + _TIMED_STEPS) * len(weights)

    def stop_reason() -> StopReason:
        clock.append(time.process_time())
        return StopReason.NONE if len(clock) <= last else StopReason.STOPPED

    def train(config: RunConfig, pause: Pause) -> RunResult:
        context = Context(
            world=World(),
            report=lambda _: None,
            stop_reason=stop_reason,
            shared=shared,
            pause=pause,
        )
        return train_worker(config, run_paths(config), context)

    for _ in round_robin({name: partial(train, config) for name, config in configs.items()}):
        pass
    return {
        "cpu_seconds": clock[last - 1] - clock[len(weights) - 1],
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "losses": [
            [record["train/loss"] for record in read_metrics(run_paths(config).metrics)]
            for config in configs.values()
        ],
    }


def config_of(directory: Path, weight: int, size: int) -> RunConfig:
    """Return a run of a student."""
    return small_run(
        directory,
        output_uri=str(directory / f"runs-{size}"),
        data={"uri": str(directory / "data"), "eval_split": None},
        student={"architecture": STUDENT},
        teachers={"big": {"model": str(directory / "teacher")}},
        losses={"cross_entropy": {}, "forward_kl": {"weight": str(weight)}},
        train={
            "num_steps": 1000,
            "global_batch_size": 16,
            "micro_batch_size": 16,
            "log_every_steps": 1,
        },
        checkpoint={"every_steps": 1000},
    )


def table_of(rounds: list[dict[int, Figures]]) -> Table:
    """Return medians over the rounds; a ratio is that of one round."""
    table = Table(title=f"Students behind one teacher, {_TIMED_STEPS} steps of 16 x 128 tokens")
    for column in (
        "students",
        "CPU s apart",
        "CPU s in a shared process",
        "x",
        "MiB of one",
        "MiB of shared process",
    ):
        table.add_column(column, justify="right")
    for size in rounds[0]:
        figures = [one[size] for one in rounds]

        def median(name: str, of: list[Figures] = figures) -> float:
            return float(statistics.median(each[name] for each in of))

        ratio = statistics.median(
            e["apart_cpu_seconds"] / e["shared_cpu_seconds"] for e in figures
        )
        table.add_row(
            str(size),
            f"{median('apart_cpu_seconds'):.2f}",
            f"{median('shared_cpu_seconds'):.2f}",
            f"{ratio:.2f}",
            f"{median('apart_megabytes'):,.0f}",
            f"{median('shared_megabytes'):,.0f}",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
