"""What a sweep of 1,000 trials costs beside its training: seconds and memory of its driver.

    python tests/bench/simulated/thousand.py [--small]

No model is trained: each run leaves in storage what a real one leaves, with 20 evaluations that
follow a formula. The plan, the ledger, the decisions of the scheduler and the report are real. In
the middle the driver starts anew, as after a crash. Exit status 1 above the limits.
"""

import argparse
import dataclasses
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from raykd.config.load import plain
from raykd.config.schema.sweep import NodeConfig, SweepConfig
from raykd.machine.devices import peak_memory_bytes
from raykd.report.summary import Summary, summarise
from raykd.report.write import write_report
from raykd.runs.paths import RunPaths
from raykd.runs.result import RunResult
from raykd.sweep.ledger import SweepPaths, read_ledger, write_index
from raykd.sweep.plan.capacity import Machines
from raykd.sweep.plan.plan import known_ledger, plan_sweep, require_runnable, sweep_uri
from raykd.sweep.record import Metrics, Record, State
from raykd.sweep.study.resume import resumed
from raykd.sweep.study.study import Limits, Study
from rich.console import Console
from rich.table import Table

from tests.sweep_files import SMALL, WEIGHT, sweep_in, write_runs

MOST_SECONDS = 60.0
MOST_GIGABYTES = 1.0
NUM_EVALUATIONS = 20
NUM_STEPS = 200
AT_ONCE = 64
MACHINES = Machines(nodes=(NodeConfig(count=AT_ONCE, cpus=1),), origin="given")

RATES = [1e-4 * 2**index for index in range(8)]
WEIGHTS: list[float | str] = [0.5, 1.0, 2.0, 4.0, 8.0, "4 -> 1"]
SEEDS = [1, 2, 3, 4, 5]


def main() -> int:
    """Measure; return 1 where it takes longer, or more memory, than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="40 trials instead of 1,000")
    options = parser.parse_args()
    costs = Costs()
    with costs.of("imports alone"):
        pass
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        summary = simulated(thousand(Path(directory), small=options.small), costs)
    Console().print(costs.table(summary))
    return 0 if costs.are_low else 1


def thousand(directory: Path, *, small: bool = False) -> SweepConfig:
    """Return a sweep of 4 teachers' qualities, 8 learning rates, 6 weights and 5 seeds.

    With a control for each learning rate and seed these are 1,000 trials.
    """
    return grid_in(
        directory,
        rates=RATES[:2] if small else RATES,
        weights=WEIGHTS[:2] if small else WEIGHTS,
        seeds=[1, 2] if small else SEEDS,
        scheduler={"asha": {"first_rung": 0.1}},
    )


def grid_in(
    directory: Path,
    *,
    rates: Sequence[float],
    weights: Sequence[float | str],
    seeds: Sequence[int],
    **given: Any,
) -> SweepConfig:
    """Return a sweep of 4 teachers' qualities, these learning rates, weights and seeds.

    A control for each learning rate and seed is added. What else is given is as in a sweep file.
    """
    train = {
        "num_steps": NUM_STEPS,
        "global_batch_size": 8,
        "micro_batch_size": 4,
        "eval_every_steps": NUM_STEPS // NUM_EVALUATIONS,
    }
    write_runs(directory, train=train)
    deep: dict[str, Any] = SMALL | {"overrides": {"student.architecture.num_layers": 3}}
    return sweep_in(
        directory,
        teachers={
            "small": SMALL | {"milestones": [0.5, 1]},
            "deep": deep | {"milestones": [0.5, 1]},
        },
        search={"optimizer.learning_rate": {"grid": [*rates]}, WEIGHT: {"grid": [*weights]}},
        seeds=[*seeds],
        **given,
    )


def simulated(sweep: SweepConfig, costs: "Costs") -> Summary:
    """Bring a sweep to its end and report on it; note the cost of each part."""
    with costs.of("plan"):
        study = started(sweep)
    with costs.of("ledger, first half"):
        drive(study, most_ends=len(study.records) // 2)
    with costs.of("plan and ledger, read again"):
        study = started(sweep)
    with costs.of("ledger, second half"):
        drive(study)
    with costs.of("report"):
        uri = sweep_uri(sweep)
        ledger = read_ledger(uri)
        summary = summarise(ledger)
        write_report(ledger, summary, directory_uri=SweepPaths(sweep=uri).report)
    return summary


def started(sweep: SweepConfig) -> Study:
    """Return the study of a sweep as its driver begins with it, from what is in storage."""
    plan = plan_sweep(sweep, machines=MACHINES)
    require_runnable(plan)
    paths, before = SweepPaths(sweep=plan.uri), known_ledger(sweep)
    known = {} if before is None else before.records
    records = resumed(plan.records, known, retries_failed=False)
    run_ids = [record.id for record in records]
    write_index(paths, sweep=plain(sweep), run_ids=run_ids)
    return Study(sweep, paths, records, limits=Limits(at_once=AT_ONCE, rungs=plan.rungs))


def drive(study: Study, *, most_ends: float = math.inf) -> None:
    """Train what a study hands out, all runs at one pace; go away after so many have ended."""
    running: dict[str, int] = {}
    num_ends = 0
    while not study.is_over:
        while process := study.next_process():
            for record in process:
                study.started(record.id)
                begin(record)
                running[record.id] = 0
        for run_id in list(running):
            if advance(study, run_id, running):
                num_ends += 1
                if num_ends >= most_ends:
                    return


def begin(record: Record) -> None:
    """Leave what a run has before its first evaluation: it starts over, without a checkpoint."""
    metrics = Path(RunPaths(record.run_uri).metrics)
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text("")


def advance(study: Study, run_id: str, running: dict[str, int]) -> bool:
    """Take a run to its next evaluation, and to its end where that is due; tell if it ended."""
    record = study.records[run_id]
    metrics = evaluation(record, running[run_id])
    with Path(RunPaths(record.run_uri).metrics).open("a") as stream:
        stream.write(f"{json.dumps(metrics)}\n")
    running[run_id] += 1
    study.reported(run_id, metrics)
    is_done = running[run_id] == NUM_EVALUATIONS
    if is_done:
        write_result(record, metrics)
    if is_done or study.should_stop(run_id):
        del running[run_id]
        study.ended(run_id)
        return True
    return False


def evaluation(record: Record, index: int) -> Metrics:
    """Return a run's evaluation: a function of its coordinates, its seed and its progress."""
    share = (index + 1) / NUM_EVALUATIONS
    at = record.coordinates
    rate = abs(math.log(at.get("optimizer.learning_rate", 1e-3) / 1e-3))
    weight = at.get(WEIGHT, 0)
    gain = 0.1 * at.get("quality", 0) * math.log1p(weight if isinstance(weight, float) else 3)
    noise = random.Random(f"{record.id}/{index}").gauss(0, 0.03)
    loss = 2 + 3 * math.exp(-3 * share) + 0.1 * rate - gain + noise
    return {
        "step": round(share * record.num_steps),
        "tokens": round(share * record.planned_tokens),
        "eval/loss": loss,
        "eval/loss/de": loss + 0.1,
        "eval/loss/en": loss - 0.1,
        "eval/accuracy": 1 / loss,
    }


def write_result(record: Record, metrics: Metrics) -> None:
    """Leave what says that a run is done."""
    paths = RunPaths(record.run_uri)
    steps = record.num_steps
    result = RunResult(
        is_done=True, step=steps, num_steps=steps, metrics=metrics, model_uri=paths.model
    )
    Path(paths.result).write_text(json.dumps(dataclasses.asdict(result)))


@dataclass(frozen=True, slots=True)
class Costs:
    """What the parts cost so far."""

    parts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Part to its seconds, and the most memory in gigabytes that was held up to its end."""

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Note what the block costs."""
        started_at = time.perf_counter()
        yield
        peak_gigabytes = peak_memory_bytes(torch.device("cpu")) / 1e9
        self.parts[part] = (time.perf_counter() - started_at, peak_gigabytes)

    @property
    def seconds(self) -> float:
        """Of all parts together."""
        return sum(seconds for seconds, _ in self.parts.values())

    @property
    def peak_gigabytes(self) -> float:
        """The most memory that was held."""
        return max(gigabytes for _, gigabytes in self.parts.values())

    @property
    def are_low(self) -> bool:
        """Whether they stay below the limits."""
        return self.seconds < MOST_SECONDS and self.peak_gigabytes < MOST_GIGABYTES

    def table(self, summary: Summary) -> Table:
        """Return them as a table."""
        stopped = summary.states.get(State.STOPPED, 0)
        table = Table(
            title=f"{summary.num_trials:,} simulated trials in {len(summary.arms)} arms, "
            f"{NUM_EVALUATIONS} evaluations each, {stopped} stopped early"
        )
        table.add_column("part")
        for heading in ("seconds", "peak memory so far, GB"):
            table.add_column(heading, justify="right")
        for part, (seconds, gigabytes) in self.parts.items():
            table.add_row(part, f"{seconds:.1f}", f"{gigabytes:.2f}")
        table.add_section()
        table.add_row("all", f"{self.seconds:.1f}", f"{self.peak_gigabytes:.2f}")
        table.add_row("allowed", f"{MOST_SECONDS:.0f}", f"{MOST_GIGABYTES:.2f}")
        return table


if __name__ == "__main__":
    sys.exit(main())
