"""What raykd costs over a bare torch loop: tokens/s on the same batches, in one run.

    python tests/bench/overhead.py [--small] [--rounds N]

Three ways take the same optimizer steps of a masked-LM distillation (2-layer teacher, 4-layer
student), each in a process of its own with one thread, interleaved over several rounds:

    bare    a loop of ten lines over batches that lie ready in memory
    raykd   ``raykd train`` with cluster.num_workers=0: streaming, metrics and all
    ray     ``raykd train`` with one Ray worker, counted after start-up

It prints the losses, too: a way that computes something else would show there.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WAYS = ("bare", "raykd", "ray")
REQUIRED = {"raykd": 0.95, "ray": 0.90}
LOG_EVERY = 10


def main() -> int:
    """Compare the ways, or run one of them where a parent process asks for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(one_way(options.way, options.directory, small=options.small)))
        return 0
    with tempfile.TemporaryDirectory(prefix="raykd-bench-") as directory:
        compare(
            Path(directory), rounds=1 if options.small else options.rounds, small=options.small
        )
    return 0


def compare(directory: Path, *, rounds: int, small: bool) -> None:
    """Run the ways in turn and print a table of their speeds."""
    prepare(directory, small=small)
    figures: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _, way in itertools.product(range(rounds), WAYS):
        figures[way].append(in_process(way, directory, small=small))
    table = Table(title="optimizer steps on the same batches, one thread")
    for heading in ("way", "tokens/s", "of bare (median of rounds)", "required", "last loss"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for way in WAYS:
        ratios = [
            mine["tokens_per_second"] / bare["tokens_per_second"]
            for mine, bare in zip(figures[way], figures["bare"], strict=True)
        ]
        table.add_row(
            way,
            f"{statistics.median(f['tokens_per_second'] for f in figures[way]):,.0f}",
            f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})",
            f">= {REQUIRED[way]:.2f}" if way in REQUIRED else "",
            f"{figures[way][0]['loss']:.5f}",
        )
    Console().print(table)


def in_process(way: str, directory: Path, *, small: bool) -> dict[str, Any]:
    """Run one way in a fresh process with one thread."""
    command = [sys.executable, __file__, "--way", way, "--directory", str(directory)]
    done = subprocess.run(
        [*command, *(["--small"] if small else [])],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def prepare(directory: Path, *, small: bool) -> None:
    """Make data, and a teacher that has taken a few steps."""
    from raykd.cli.main import main as raykd  # noqa: PLC0415  children need it, not the parent

    raykd(["prepare", "--demo", "stdlib-docs", "--output", str(directory / "data")])
    config = run_config(directory, "teacher", small=small)
    train(config)


def run_config(directory: Path, way: str, *, small: bool) -> Any:
    """Return the run that all ways take the steps of."""
    from raykd.config.load import checked_run  # noqa: PLC0415
    from raykd.runs.paths import run_paths  # noqa: PLC0415

    is_teacher = way == "teacher"
    teacher = (
        {}
        if is_teacher
        else {"small": {"model": run_paths(run_config(directory, "teacher", small=small)).run}}
    )
    steps = (20 if small else 60) if not is_teacher else 5
    return checked_run(
        {
            "name": way,
            "task": "masked_lm",
            "output_uri": str(directory / "runs"),
            "data": {"uri": str(directory / "data"), "eval_split": None},
            "teachers": teacher,
            "student": {
                "architecture": {
                    "model_type": "bert",
                    "num_layers": 2 if is_teacher else 4,
                    "hidden_size": 128,
                    "num_heads": 2,
                    "intermediate_size": 512,
                    "dropout": 0.0,
                }
            },
            "losses": {"cross_entropy": {}} | ({} if is_teacher else {"forward_kl": {}}),
            "train": {
                "num_steps": steps,
                "global_batch_size": 32,
                "micro_batch_size": 32,
                "log_every_steps": LOG_EVERY,
            },
            "checkpoint": {"every_steps": 10_000},
            "cluster": {"num_workers": 1 if way == "ray" else 0},
        },
        origin="bench",
    )


def one_way(way: str, directory: Path, *, small: bool) -> dict[str, Any]:
    """Take the steps in one way; return tokens per second and the loss at the end."""
    config = run_config(directory, way, small=small)
    if way == "bare":
        return bare_loop(config)
    records = train(config)
    speeds = [record["train/tokens_per_second"] for record in records]
    # The first record holds the first step, in which memory is allocated and files are opened.
    return {
        "tokens_per_second": statistics.harmonic_mean(speeds[1:]),
        "loss": records[-1]["train/loss"],
    }


def train(config: Any) -> list[dict[str, float]]:
    """Run raykd on a configuration from the beginning; return its training records."""
    from raykd.cli.quiet import quiet_libraries  # noqa: PLC0415

    quiet_libraries()
    from raykd.runs.metrics import read_metrics  # noqa: PLC0415
    from raykd.runs.paths import run_paths  # noqa: PLC0415
    from raykd.train.run import Listener, train_run  # noqa: PLC0415

    listener = Listener(on_record=lambda _: None, on_message=print, should_stop=lambda: False)
    train_run(config, fresh=True, address="local", listener=listener)
    records = read_metrics(run_paths(config).metrics)
    return [record for record in records if "train/loss" in record]


def bare_loop(config: Any) -> dict[str, Any]:
    """Take the steps with nothing around them, over batches that are ready."""
    import torch  # noqa: PLC0415
    from raykd.batch import LayersWanted  # noqa: PLC0415
    from raykd.distill.assemble import assemble  # noqa: PLC0415
    from raykd.distill.optimizer import learning_rate  # noqa: PLC0415
    from raykd.distill.setup import read_setup  # noqa: PLC0415
    from raykd.distill.world import World  # noqa: PLC0415
    from torch.nn import functional as F  # noqa: PLC0415

    run = assemble(read_setup(config), world=World())
    assert run.objective.ensemble is not None
    (teacher,) = run.objective.ensemble.teachers.values()
    student, optimizer = run.student.train(), run.state.optimizer
    batches = [step.micro_batches[0] for step in itertools.islice(run.steps(), run.num_steps)]
    losses, seconds = [], []
    for step, batch in enumerate(batches):
        started = time.perf_counter()
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = learning_rate(
            config.optimizer, step=step, num_steps=run.num_steps
        )
        teacher_logits_PK = teacher(batch, LayersWanted()).logits_PK
        student_logits_PK = student(batch).logits_PK
        log_probs_PK = student_logits_PK.log_softmax(-1)
        loss = F.cross_entropy(student_logits_PK, batch.labels_P) + F.kl_div(
            log_probs_PK, teacher_logits_PK.log_softmax(-1), reduction="batchmean", log_target=True
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), config.optimizer.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - started)
    tokens = sum(batch.num_tokens for batch in batches[LOG_EVERY:])
    return {
        "tokens_per_second": tokens / sum(seconds[LOG_EVERY:]),
        "loss": statistics.mean(losses[-LOG_EVERY:]),
    }


if __name__ == "__main__":
    sys.exit(main())
