"""What a study of 400 arms, 5 seeds and 20 questions costs beside its training.

    python tests/bench/simulated/questions.py [--small]

No model is trained: the ledger gets what runs that are done leave, with 20 evaluations that follow
a formula. The plan with its power, the answers and the report are real. Exit status 1 above the
limits.
"""

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.cli.commands.check_power import power_lines, power_of
from raykd.config.load import plain
from raykd.config.schema.sweep import SweepConfig
from raykd.report.summary import Summary, summarise
from raykd.report.write import write_report
from raykd.sweep.ledger import SweepPaths, read_ledger, write_index, write_records
from raykd.sweep.plan.plan import SweepPlan, plan_sweep, require_runnable
from raykd.sweep.questions.answers import Answer, answers_of
from raykd.sweep.questions.asked import asked_now
from raykd.sweep.record import Record, State
from rich.console import Console

from tests.bench.simulated.thousand import (
    MACHINES,
    NUM_EVALUATIONS,
    RATES,
    SEEDS,
    WEIGHTS,
    Costs,
    evaluation,
    grid_in,
)

_MORE_RATES = [*RATES, *(1.5 * rate for rate in RATES)]


def main() -> int:
    """Measure; return 1 where it takes longer, or more memory, than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="50 arms instead of 400")
    options = parser.parse_args()
    costs = Costs()
    with costs.of("imports alone"):
        pass
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        rates = _MORE_RATES[:2] if options.small else _MORE_RATES
        summary, answers = answered(asking(Path(directory), rates), costs)
    console = Console()
    console.print(costs.table(summary))
    verdicts = Counter(answer.verdict for answer in answers)
    console.print(", ".join(f"{number} {verdict}" for verdict, number in verdicts.items()))
    return 0 if costs.are_low else 1


def asking(directory: Path, rates: list[float]) -> SweepConfig:
    """Return a study of 4 teachers' qualities, 6 weights, these rates with a control for each."""
    return grid_in(directory, rates=rates, weights=WEIGHTS, seeds=SEEDS, questions=_questions())


def _questions() -> dict[str, dict[str, Any]]:
    """Return 20 questions of every form, most of them about all arms."""
    controls: dict[str, Any] = {"control": True}
    deep: dict[str, Any] = {"teacher": "deep"}
    small: dict[str, Any] = {"teacher": "small"}
    of_weights: dict[str, dict[str, Any]] = {
        f"weight-{index}": {"compare": {"weight": w}, "with": {"weight": w} | controls}
        for index, w in enumerate(WEIGHTS)
    }
    moments: dict[str, dict[str, Any]] = {
        "early": {"at": 0.1},
        "halfway": {"at": 0.5},
        "in-all": {"area": True},
        "sooner": {"steps_to": 4.0},
    }
    of_moments: dict[str, dict[str, Any]] = {
        f"deep-{name}": {"compare": deep, "with": small, **moment}
        for name, moment in moments.items()
    }
    trend: dict[str, Any] = {"over": "weight", "order": [0.5, 1, 2, 4, 8]}
    half: dict[str, Any] = {"quality": 0.5}
    return {
        **of_weights,
        **of_moments,
        "deep-is-alike": {"compare": deep, "with": small, "expect": "alike", "margin": 0.02},
        "more-training": {"compare": {"quality": 1}, "with": half, "detect": 0.05},
        "no-worse": {"compare": deep, "with": small, "expect": "no worse", "margin": 0.02},
        "trend": {"trend": trend},
        "trend-of-gains": {"trend": trend | {"with": controls}},
        "gains-differ": {
            "compare": deep,
            "with": deep | controls,
            "against": {"compare": small, "with": small | controls},
            "expect": "different",
        },
        "worst-language": {"compare": half, "with": half | controls, "metric": "eval/loss/de"},
        "sum": {"terms": [{"arms": deep, "weight": 1.0}, {"arms": small, "weight": -1.0}]},
        "given": {"compare": deep, "with": deep | controls, "given": ["weight-3"]},
        "both": {"all": ["deep-early", "deep-halfway"]},
    }


def answered(sweep: SweepConfig, costs: Costs) -> tuple[Summary, tuple[Answer, ...]]:
    """Plan a study, take it as done, answer and report; note the cost of each part."""
    with costs.of("plan"):
        plan = plan_sweep(sweep, machines=MACHINES)
        require_runnable(plan)
    with costs.of("power, before"):
        list(power_lines(power_of(plan)))
    with costs.of("ledger"):
        write_done(plan)
    with costs.of("ledger, read"):
        ledger = read_ledger(plan.uri)
    with costs.of("power, with results"):
        list(power_lines(power_of(plan)))
    with costs.of("answers"):
        answers = answers_of(ledger.sweep, ledger.records, asked=ledger.asked)
    with costs.of("summary"):
        summary = summarise(ledger)
    with costs.of("report"):
        write_report(ledger, summary, directory_uri=SweepPaths(sweep=plan.uri).report)
    return summary, answers


def write_done(plan: SweepPlan) -> None:
    """Leave the ledger of a study whose runs are all done."""
    paths, sweep = SweepPaths(sweep=plan.uri), plain(plan.sweep)
    records = {record.id: record for record in plan.records}
    asked = asked_now(sweep, records, before=None, now=0.0)
    write_records(paths, map(_done, plan.records))
    write_index(paths, sweep=sweep, run_ids=records, asked=asked)


def _done(record: Record) -> Record:
    evaluations = tuple(evaluation(record, index) for index in range(NUM_EVALUATIONS))
    return replace(record, state=State.DONE, evaluations=evaluations)


if __name__ == "__main__":
    sys.exit(main())
