"""What raykd costs over a bare torch loop: CPU time of the same steps, by turns in one process.

    OMP_NUM_THREADS=1 python tests/bench/overhead.py [--small]

Two ways take the same optimizer steps of a masked-LM distillation, a step each in turn:

    bare    forward, backward, clipping and AdamW of the run's own objective, over batches that lie
            ready in memory
    raykd   the worker of a run with all that it does: data, checks, metrics, logs

What raykd adds does not depend on the size of the models, so they are tiny: that shows it beside
the noise. It is told in ms, and as a share of a step of 50 ms. The thread that takes the steps is
told apart from the others, which read ahead and write. Both ways end with the same loss.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble
from raykd.distill.loop import step_counts
from raykd.distill.optimizer import learning_rate
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.machine.process import prepare_process
from raykd.models.load import save_model
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.runs.stop import StopReason
from raykd.train.turns import Pause, round_robin
from raykd.train.worker import Context, train_worker
from rich.console import Console
from rich.table import Table

from tests.prepared import write_prepared

REQUIRED = 0.02
"""The most that the worker may add to a step of 50 ms."""

_WARM_UP = 5
"""Steps that allocate memory and open files, and are not counted."""


@dataclass
class Clock:
    """CPU time of a way, step by step."""

    seconds: list[float] = field(default_factory=list)
    """Of the thread that takes the steps; the first is of what comes before them."""

    others: float = 0.0
    """Of all other threads, while that one has its turns."""

    _began: tuple[float, float] = (0.0, 0.0)

    def paused(self, pause: Pause) -> Pause:
        """Return the pause between two steps, which ends the time of one and begins the next's."""

        def timed() -> None:
            seconds = time.thread_time() - self._began[0]
            if self.seconds:
                self.others += time.process_time() - self._began[1] - seconds
            self.seconds.append(seconds)
            pause()
            self._began = time.thread_time(), time.process_time()

        return timed


def main() -> int:
    """Take the steps both ways and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        compare(Path(directory), num_steps=40 if options.small else 400)
    return 0


def compare(directory: Path, *, num_steps: int) -> None:
    """Let the ways take turns, and print a table."""
    prepare_process(cores=1)
    write_prepared(directory / "data", {"train": {"en": [1000] * 4}}, max_length=128)
    teacher = run_config(directory, "teacher", num_steps=1)
    save_model(assemble(read_setup(teacher), world=World()).student.model, directory / "teacher")
    config = run_config(directory, "student", num_steps=num_steps)
    clocks = {"bare": Clock(), "raykd": Clock()}
    losses: list[float] = []

    def bare(pause: Pause) -> None:
        losses.extend(bare_loop(config, clocks["bare"].paused(pause)))

    def whole(pause: Pause) -> None:
        context = Context(
            world=World(),
            report=lambda _: None,
            stop_reason=lambda: StopReason.NONE,
            pause=clocks["raykd"].paused(pause),
        )
        train_worker(config, run_paths(config), context)

    list(round_robin({"bare": bare, "raykd": whole}))
    print_table(clocks)
    (*_, last) = read_metrics(run_paths(config).metrics)
    mean = statistics.mean(losses[-config.train.log_every_steps :])
    Console().print(f"mean of the last losses: bare {mean:.9f}, raykd {last['train/loss']:.9f}")


def print_table(clocks: dict[str, Clock]) -> None:
    """Print the steps of both ways, and by how much they differ."""
    bare, whole = (clock.seconds[_WARM_UP:] for clock in clocks.values())
    added = statistics.median(b - a for a, b in zip(bare, whole, strict=False))
    others = clocks["raykd"].others / len(clocks["raykd"].seconds)
    table = Table(title=f"CPU ms of a step, one thread, medians of {len(bare)} steps")
    for heading in ("bare", "raykd", "added", "of 50 ms", "required", "other threads, mean"):
        table.add_column(heading, justify="right")
    table.add_row(
        *(f"{1e3 * statistics.median(seconds):.2f}" for seconds in (bare, whole)),
        f"{1e3 * added:+.3f}",
        f"{added / 0.05:+.2%}",
        f"<= {REQUIRED:.0%}",
        f"{1e3 * others:.2f}",
    )
    Console().print(table)


def run_config(directory: Path, name: str, *, num_steps: int) -> RunConfig:
    """Return the run whose steps both ways take, or that of its teacher."""
    is_teacher = name == "teacher"
    return checked_run(
        {
            "name": name,
            "task": "masked_lm",
            "output_uri": str(directory / "runs"),
            "data": {"uri": str(directory / "data"), "eval_split": None},
            "teachers": {} if is_teacher else {"small": {"model": str(directory / "teacher")}},
            "student": {
                "architecture": {
                    "model_type": "bert",
                    "num_layers": 2,
                    "hidden_size": 32,
                    "num_heads": 2,
                    "intermediate_size": 64,
                    "dropout": 0.0,
                }
            },
            "losses": {"cross_entropy": {}} | ({} if is_teacher else {"forward_kl": {}}),
            "train": {
                "num_steps": num_steps,
                "global_batch_size": 8,
                "micro_batch_size": 8,
                "log_every_steps": 10,
            },
            "checkpoint": {"every_steps": 10_000},
            "cluster": {"num_workers": 0},
        },
        origin="bench",
    )


def bare_loop(config: RunConfig, pause: Callable[[], None]) -> list[float]:
    """Take the steps with nothing around them; return their losses."""
    run = assemble(read_setup(config), world=World())
    objective, optimizer = run.objective, run.state.optimizer
    steps = run.steps()
    batches = [next(steps).micro_batches[0] for _ in range(run.num_steps)]
    # Ends the thread that reads ahead.
    steps.restart()
    losses = []
    pause()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.optimizer, step=step, num_steps=run.num_steps)
        counts = step_counts(len(batch.positions_P), batch.num_tokens)
        output = objective(batch, run.loop_options.progress(step), counts)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), config.optimizer.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(output.loss.detach()))
        pause()
    return losses


if __name__ == "__main__":
    sys.exit(main())
