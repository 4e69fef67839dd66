"""Say what a sweep would do: its plan, its cost, how long it may take, and what is wrong."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from raykd.cli.commands.check_power import power_lines, power_of, power_warnings
from raykd.cli.commands.report import report_console
from raykd.cli.problems import files_of, print_problems
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import RaykdError
from raykd.report.standing import standing_of
from raykd.report.units import amount, duration, share
from raykd.sweep.grid.coordinates import stage_label, value_text
from raykd.sweep.ledger import Ledger, read_ledger
from raykd.sweep.plan.changes import KIND_NAMES, continued, difference
from raykd.sweep.plan.cost import cost_left, measured, planned_time, whole_cost
from raykd.sweep.plan.payment import teacher_payments
from raykd.sweep.plan.plan import SweepPlan, plan_sweep
from raykd.sweep.plan.planned_runs import PlannedRun
from raykd.sweep.questions.seeds import looks_of

_Lines = Iterator[tuple[str, str]]


def run(path: Path, sweep: SweepConfig, *, measures: bool) -> int:
    """Print the plan of a sweep and its problems; return 2 when there are any.

    Args:
        path: The sweep file.
        sweep: What it says.
        measures: Time a few steps in this process.
    """
    plan = plan_sweep(sweep)
    console = report_console()
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in plan_lines(plan, measures=measures and not plan.problems):
        table.add_row(Text(name), Text(text))
    console.print(table)
    power = power_of(plan)
    for line in power_lines(power):
        console.print(line)
    for warning in power_warnings(power):
        console.print(f"warning: {warning}", markup=False)
    return print_problems(
        console, plan.problems, paths=files_of(path, sweep), data_uris=plan.data_uris
    )


def plan_lines(plan: SweepPlan, *, measures: bool) -> _Lines:
    """Yield the plan as pairs of a heading and a text.

    Args:
        plan: What the sweep would do.
        measures: Time a few steps in this process.
    """
    ledger = _ledger(plan)
    yield "sweep", plan.uri
    yield from _ledger_lines(plan, ledger)
    if ledger is not None:
        # From here on costs are those of what is left: a stopped or failed run has none.
        plan = continued(plan, ledger)
    yield from _graph_lines(plan)
    yield from _tuning_lines(plan)
    yield from _trial_lines(plan)
    yield from _seed_lines(plan)
    yield from _coordinate_lines(plan)
    yield from _probe_lines(plan)
    yield from _teacher_lines(plan)
    yield from _cost_lines(plan)
    yield from _room_lines(plan)
    if plan.rungs:
        yield "rungs", f"trials are compared at {', '.join(f'{r:,}' for r in plan.rungs)} tokens"
    yield from (("note", remark) for remark in plan.remarks)
    if measures:
        yield "time", _time_text(plan)


def _ledger(plan: SweepPlan) -> Ledger | None:
    return read_ledger(plan.uri) if plan.is_known else None


def _ledger_lines(plan: SweepPlan, ledger: Ledger | None) -> _Lines:
    if ledger is None:
        yield "found", "nothing yet"
        return
    yield "found", f"a ledger of {len(ledger.records)} runs: {_states(ledger)}"
    if standing := standing_of(ledger).text:
        yield "", standing
    changes = difference(ledger, plan).lines()
    yield from (("changed", line) for line in changes)


def _states(ledger: Ledger) -> str:
    counted = Counter(record.state.value for record in ledger.records.values())
    return ", ".join(f"{number} {state}" for state, number in counted.items())


def _graph_lines(plan: SweepPlan) -> _Lines:
    """Yield the stages, each with those that it begins at or learns from, and who needs it."""
    names = {stage.record.id: stage_label(stage.record) for stage in plan.stages}
    users = Counter(stage for run in (*plan.tuning, *plan.trials) for stage in run.record.needs)
    for stage in plan.stages:
        record = stage.record
        qualities = ", ".join(f"{m:g}" for m in stage.config.checkpoint.milestones)
        size = f"{record.num_steps:,} steps, {record.planned_tokens:,} tokens"
        text = (
            f"{names[record.id].partition(' ')[2]}: {_standing(stage)}; qualities {qualities}; "
            f"{size if record.planned_tokens else 'how long is not known'}"
        )
        if record.needs:
            text += f"; after {', '.join(names[needed] for needed in record.needs)}"
        if users[record.id]:
            text += f"; for {users[record.id]:,} run(s)"
        yield names[record.id].partition(" ")[0], text


def _standing(run: PlannedRun) -> str:
    """Say where a run begins."""
    if run.record.state.is_terminal:
        return "there" if run.first_step == run.record.num_steps else run.record.state.value
    return f"continues at step {run.first_step:,}" if run.first_step else "to be trained"


def _tuning_lines(plan: SweepPlan) -> _Lines:
    if (tune := plan.sweep.tune) is None:
        return
    arms = {(r.record.is_control, json.dumps(r.record.coordinates)) for r in plan.tuning}
    per = "each arm" if tune.per is None else f"each {', '.join(tune.per)}" if tune.per else "all"
    yield (
        "tuning",
        f"{len(plan.tuning):,} run(s): {len(arms):,} arm(s) x {len(tune.candidates)} value(s) x "
        f"{len(tune.seeds)} seed(s), to choose {', '.join(tune.values)} for {per}, controls apart",
    )


def _trial_lines(plan: SweepPlan) -> _Lines:
    if plan.num_unknown_samples:
        yield "trials", f"at most {len(plan.expected):,} more, suggested by Optuna while it runs"
    # Tuned arms have no runs yet, but their number is known.
    known = [r.record for r in plan.trials if plan.num_unknown_samples == 0 or r in plan.runs]
    first = [r for r in known if r.seed not in plan.sweep.more_seeds]
    arms, seeds = len({r.arm for r in first}), len({r.seed for r in first})
    controls = sum(r.is_control for r in first)
    text = f"{len(first):,}: {arms:,} arm(s) x {seeds} seed(s), {controls:,} of them controls"
    if num_further := len(known) - len(first):
        text += f"; {num_further:,} with further seeds"
    if plan.num_excluded:
        text += f"; {plan.num_excluded:,} point(s) excluded"
    yield "trials", text
    if done := sum(r.is_reused for r in known):
        yield "", f"{done:,} found done, and reused"
    begun = [r for r in plan.trials if r.first_step and r.share_left]
    if begun:
        yield "", f"{len(begun):,} continue from a checkpoint"


def _seed_lines(plan: SweepPlan) -> _Lines:
    """Yield how many seeds there may be, and what these cost beside what is planned."""
    if (more := plan.more_seeds) is None:
        return
    first, *others = (str(len(look.seeds)) for look in looks_of(plan.sweep))
    text = f"{first}, then {' and '.join(others)} where questions are undecided"
    if more.at_most:
        num_trials = sum(run.record.kind == "trial" for run in more.at_most)
        cost = whole_cost(more.at_most, most=plan.sweep.trials_per_process)
        text += f": at most {num_trials:,} more trial(s)"
        if cost.flops:
            text += f", {amount(cost.tokens).strip()} tokens, {amount(cost.flops)}FLOPs in all"
    yield "seeds", text


def _probe_lines(plan: SweepPlan) -> _Lines:
    """Yield each probe with its runs."""
    for name, probe in plan.sweep.probes.items():
        runs = [run for run in plan.probes if run.record.coordinates["probe"] == name]
        done = sum(run.record.state.is_terminal for run in runs)
        fractions = ", ".join(f"{at:g}" for at in probe.at)
        yield (
            "probe",
            f"{name}: {len(runs):,} run(s), {done:,} of them there, of {', '.join(probe.of)} at "
            f"{fractions} of their steps x {len(probe.seeds)} seed(s)",
        )


def _coordinate_lines(plan: SweepPlan) -> _Lines:
    """Yield each coordinate with its values and the trials that have each."""
    counts: dict[str, Counter[str]] = {}
    for run in plan.trials:
        for name, value in run.record.coordinates.items():
            # As JSON: values may be lists and sections, which cannot be counted themselves.
            counts.setdefault(name, Counter())[json.dumps(value, sort_keys=True)] += 1
    for name, counted in counts.items():
        values = (f"{value_text(json.loads(v))} ({n:,})" for v, n in counted.items())
        yield f"  {name}", ", ".join(values)


def _teacher_lines(plan: SweepPlan) -> _Lines:

    for number, text in enumerate(teacher_payments(plan)):
        yield "" if number else "teacher paid", text


def _cost_lines(plan: SweepPlan) -> _Lines:

    everything, most = (*plan.runs, *plan.expected), plan.sweep.trials_per_process
    if any(run.flops is None for run in everything):
        yield "cost", "not known before the problems below are solved"
        return
    parts = (
        *(
            (f"{name}s", cost_left(plan.of_kind(kind), most=most))
            for kind, name in KIND_NAMES.items()
            if plan.of_kind(kind) or kind in ("stage", "trial")
        ),
        ("with what is done", whole_cost(everything, most=most)),
    )
    for number, (name, cost) in enumerate(parts):
        text = f"{name}: {cost.num_runs:,} run(s)"
        if cost.num_runs:
            text += f", {amount(cost.tokens).strip()} tokens, {amount(cost.flops)}FLOPs"
        if cost.teacher_share:
            text += f", {share(cost.teacher_share)} for teachers"
        if cost.num_caches:
            text += f"; {cost.num_caches} cache(s) of teachers' outputs, each paid once"
        yield "" if number else "cost", text


def _room_lines(plan: SweepPlan) -> _Lines:
    sizes = [r.need.memory_bytes for r in plan.trials if r.need.memory_bytes is not None]
    yield "machines", str(plan.machines)
    if sizes:
        yield "memory", f"about {max(sizes) / 1e9:.2f} GB for a worker of a trial, estimated"
    yield "at once", f"{plan.at_once} trial(s), limited by {plan.at_once_by}"
    if plan.idle_gpus:
        yield "warning", plan.idle_gpus


def _time_text(plan: SweepPlan) -> str:

    if not any(run.share_left for run in (*plan.runs, *plan.expected)):
        return "nothing is left to do"
    try:
        speed = measured(plan)
    except RaykdError as error:
        return f"not known: {error}"
    if speed is None:
        return "not known: the runs ask for a GPU, and there is none here to time a step on"
    time = planned_time(plan, speed)
    return (
        f"roughly {duration(time.seconds)} without evaluations, {duration(time.of_starts)} of it "
        f"for {time.num_starts:,} start(s) of runs and that of Ray, assumed to be as elsewhere; "
        f"a step of the largest student took {speed.seconds_per_step:.3f} s here ({speed.where}, "
        f"{amount(speed.flops_per_second)}FLOP/s); the machines are taken to be alike"
    )
