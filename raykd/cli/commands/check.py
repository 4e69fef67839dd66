"""Say what a run or sweep would do, and all that is wrong with it, without starting anything."""

import argparse

from rich.console import Console
from rich.table import Table

from raykd.cli.commands import check_sweep
from raykd.cli.problems import print_problems
from raykd.cli.start import provenance_lines, start_lines
from raykd.config.schema.model import TeacherConfig
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.machine.process import machine_warnings
from raykd.planning.memory import DataPlan, ModelPlan
from raykd.planning.run_plan import Plan, plan_run


def run(options: argparse.Namespace, config: RunConfig | SweepConfig) -> int:
    """Print the plan and its problems; return 2 when there are any."""
    if isinstance(config, SweepConfig):
        return check_sweep.run(options.config, config, measures=not options.no_measure)
    plan = plan_run(config)
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for name, text in plan_lines(config, plan):
        table.add_row(name, text)
    console.print(table)
    if options.init and plan.start is not None:
        console.print("\n" + "\n".join(provenance_lines(plan.start)), markup=False)
    return print_problems(
        console, plan.problems, paths=[options.config], data_uris=[config.data.uri]
    )


def _teacher_line(section: TeacherConfig, model: ModelPlan | None) -> str:
    """Describe a teacher; nothing is said of a model that cannot be read."""
    text = "" if model is None else str(model)
    if section.unigram is not None:
        text = "no model: how often each label is right in the training data"
    return f"{text}; its classes permuted" if text and section.permuted is not None else text


def plan_lines(config: RunConfig, plan: Plan) -> list[tuple[str, str]]:
    """Return the plan as pairs of a heading and a text."""
    train, cluster = config.train, config.cluster
    lines = [("run", plan.run_uri), ("found", plan.progress)]
    lines += [("changed", line) for line in plan.others]
    if plan.data is not None:
        lines += _data_lines(config, plan.data, num_steps=plan.num_steps)
    if plan.student is not None:
        heads = (
            "; a head for each language" if config.student.projections == "per_language" else ""
        )
        lines.append(("student", f"{plan.student}{heads}"))
    lines += [
        (f"teacher {name}", text)
        for name, section in config.teachers.items()
        if (text := _teacher_line(section, plan.teachers.get(name)))
    ]
    lines += [(f"cache {name}", str(cache)) for name, cache in plan.caches.items()]
    if plan.start is not None:
        lines += [("init", line) for line in start_lines(plan.start)]
    place = (
        "in this process"
        if cluster.num_workers == 0
        else f"{cluster.num_workers} Ray worker(s), {cluster.cpus_per_worker:g} CPU and "
        f"{cluster.gpus_per_worker:g} GPU each"
    )
    if cluster.shard_student and cluster.num_workers > 1:
        place += ", the student sharded"
    lines.append(("workers", f"{place}; {train.micro_batch_size} rows per forward pass"))
    if plan.memory_bytes is not None:
        lines.append(("memory", f"about {plan.memory_bytes / 1e9:.2f} GB each, estimated"))
    lines += [("note", text) for text in plan.remarks]
    # Last, so that they are above the problems and not scrolled away.
    lines += [("warning", text) for text in machine_warnings(config)]
    return lines


def _data_lines(config: RunConfig, data: DataPlan, *, num_steps: int) -> list[tuple[str, str]]:
    """Return what a run reads as pairs of a heading and a text."""
    batch_size = config.train.global_batch_size
    # The mean of the split: mixing by language or epochs that end within it shift it a little.
    per_row = data.train_tokens / data.train_rows
    tokens = num_steps * batch_size * per_row
    epochs = num_steps * batch_size / data.train_rows
    rows, tokens_read = f"{data.train_rows:,} rows", f"{data.train_tokens:,} tokens"
    if config.data.fraction != 1:
        # Their lengths are not read: they are taken to be as long as all of them are.
        rows, tokens_read = (
            f"{rows} of data.fraction={config.data.fraction:g}",
            f"about {tokens_read}",
        )
    scored = data.scored_rows
    evaluated, tested = scored.get("eval_split", 0), scored.get("test_split")
    lines = [
        (
            "data",
            f"{rows}, {tokens_read} to train on; {evaluated:,} rows to evaluate on"
            + (f", {tested:,} rows to test on" if tested else ""),
        ),
        (
            "steps",
            f"{num_steps:,} of {batch_size} rows: {tokens:,.0f} tokens, {epochs:.2f} epochs",
        ),
    ]
    if data.unseen:
        lines.append(("unseen", f"{', '.join(data.unseen)}: evaluated on, not trained on"))
    if data.shares:
        shares = (f"{name} {share:.1%}" for name, share in data.shares.items())
        lines.append(("languages", ", ".join(shares)))
    return lines
