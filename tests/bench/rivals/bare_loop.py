"""Fine-tuning by raykd beside a bare torch loop: CPU seconds on the same rows, in one run.

    python -m tests.bench.rivals.bare_loop --model DIRECTORY --data URI [--precision NAME]
        [--frozen PART] [--rounds N] [--steps N]

An encoder learns the classes of a prepared data set, all of it and with frozen embeddings, in
float32 and in bfloat16, without dropout. The bare loop pads the 32 rows of a step to one batch and
has what a careful user gives it: autocast, fused AdamW, clipping, the kept heap. raykd takes them
in micro-batches of like length, or as that same batch. Each way is a process of its own; they take
turns, round after round. The losses of every step are compared, too.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from raykd.cli.quiet import quiet_libraries
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig, TaskName
from raykd.data.manifest import read_manifest
from raykd.distill.assemble import assemble
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.machine.allocator import keep_large_blocks
from raykd.models.load import load_model, save_model
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F
from transformers import AutoModelForSequenceClassification

from tests.bench.rivals.watch import Watch

TASK: TaskName = "sequence_classification"
ROWS = 32
WAYS = {"bare": ROWS, "raykd": 8, "raykd, one batch": ROWS}
"""To the rows of a micro-batch."""

PRECISIONS = ("bfloat16", "float32")
FROZEN = ("nothing", "embeddings")

_BATCHES = "batches.pt"

_WARM_UP_STEPS = 4
"""Memory is allocated in them, and oneDNN makes its kernels."""

Figures = dict[str, Any]


def main() -> int:
    """Compare the ways, or take the steps in one where a parent process asks for it."""
    options = _options()
    if options.way:
        print(json.dumps(one_way(options)))
        return 0
    with tempfile.TemporaryDirectory(prefix="raykd-bare-loop-") as directory:
        start = Path(directory, "model")
        save_start(options.model, options.data, start)
        options.model, options.output = str(start), directory
        save_batches(options)
        console = Console(width=120)
        precisions = [options.precision] if options.precision else PRECISIONS
        parts = [options.frozen] if options.frozen else FROZEN
        for options.precision, options.frozen in itertools.product(precisions, parts):
            found: dict[str, list[Figures]] = {way: [] for way in WAYS}
            for _, way in itertools.product(range(options.rounds), WAYS):
                options.way = way
                found[way].append(in_process(options))
            console.print(table(f"{options.precision}, frozen: {options.frozen}", found))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="an encoder")
    parser.add_argument("--data", required=True, help="a prepared data set with classes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--precision", choices=PRECISIONS, help="default: both")
    parser.add_argument("--frozen", choices=FROZEN, help="default: both")
    for name in ("way", "output"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    return parser.parse_args()


def save_start(source: str, data: str, path: Path) -> None:
    """Save the model that all ways start from: with a head, and without dropout."""
    quiet_libraries()
    torch.manual_seed(0)
    model = load_model(source, TASK, labels=read_manifest(data).labels)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        setattr(model.config, name, 0.0)
    save_model(model, path)


def save_batches(options: argparse.Namespace) -> None:
    """Save the rows of every step as raykd reads them, padded to one batch."""
    defaults = vars(options) | {"way": "rows", "precision": "float32", "frozen": "nothing"}
    config = run_config(argparse.Namespace(**defaults), rows=ROWS)
    run = assemble(read_setup(config), world=World())
    batches = [step.micro_batches[0] for step in itertools.islice(run.steps(), options.steps)]
    torch.save(
        [
            {
                "input_ids": batch.input_ids_BL,
                "attention_mask": batch.attention_mask_BL,
                "labels": batch.labels_P,
            }
            for batch in batches
        ],
        Path(options.output, _BATCHES),
    )


def in_process(options: argparse.Namespace) -> Figures:
    """Take the steps in one way in a fresh process; return what its watch saw."""
    given = [f"--{name}={value}" for name, value in vars(options).items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.rivals.bare_loop", *given],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def one_way(options: argparse.Namespace) -> Figures:
    """Take the steps in one way."""
    quiet_libraries()
    keep_large_blocks()
    torch.set_num_threads(1)
    watch = Watch()
    if options.way == "bare":
        bare_loop(options, watch)
    else:
        by_raykd(run_config(options, rows=WAYS[options.way]), watch)
    return watch.figures()


def run_config(options: argparse.Namespace, *, rows: int) -> RunConfig:
    """Return the run as a user writes it."""
    return checked_run(
        {
            "name": options.way.replace(", ", "-").replace(" ", "-"),
            "task": TASK,
            "output_uri": options.output,
            "data": {"uri": options.data, "eval_split": None},
            "student": {
                "pretrained": options.model,
                "freeze": [] if options.frozen == "nothing" else [options.frozen],
            },
            "losses": {"cross_entropy": {}},
            "optimizer": {"learning_rate": 5e-5, "schedule": "constant", "warmup_fraction": 0.0},
            "train": {
                "num_steps": options.steps,
                "global_batch_size": ROWS,
                "micro_batch_size": rows,
                "precision": options.precision,
                "log_every_steps": 1,
            },
            "checkpoint": {"every_steps": 10_000},
            "cluster": {"num_workers": 0},
        },
        origin="bench",
    )


def by_raykd(config: RunConfig, watch: Watch) -> None:
    """Train as `raykd distill` does in this process."""

    def should_stop() -> bool:
        watch.step_ended()
        return False

    listener = Listener(on_record=lambda _: None, on_message=print, should_stop=should_stop)
    watch.begin()
    train_run(config, fresh=True, address="local", listener=listener)
    for record in read_metrics(run_paths(config).metrics):
        if "train/loss" in record:
            watch.found({"loss": record["train/loss"], "tokens": record["tokens"]})


def bare_loop(options: argparse.Namespace, watch: Watch) -> None:
    """Train with nothing around the steps, over batches that are ready."""
    batches = torch.load(Path(options.output, _BATCHES))
    watch.begin()
    model = AutoModelForSequenceClassification.from_pretrained(options.model).train()
    if options.frozen == "embeddings":
        model.base_model.embeddings.requires_grad_(requires_grad=False)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=5e-5, fused=True)
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            logits_BK = model(batch["input_ids"], batch["attention_mask"]).logits
        loss = F.cross_entropy(logits_BK.float(), batch["labels"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        watch.found({"loss": loss.item()})
        watch.step_ended()


def table(title: str, found: dict[str, list[Figures]]) -> Table:
    """Return a table of all ways of a case."""
    shown = Table(title=f"{title}; {ROWS} rows a step, one thread")
    shown.add_column("way")
    for heading in ("CPU s a step", "us a token", "of bare (median of rounds)"):
        shown.add_column(heading, justify="right")
    for heading in ("tokens a step", "MiB", "losses apart"):
        shown.add_column(heading, justify="right")
    tokens = tokens_a_step(found["raykd"][0])
    for way, rounds in found.items():
        pairs = list(zip(rounds, found["bare"], strict=True))
        ratios = [seconds(mine) / seconds(bare) for mine, bare in pairs]
        step = statistics.median(map(seconds, rounds))
        shown.add_row(
            way,
            f"{step:.3f}",
            f"{step / tokens * 1e6:,.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{tokens:,.0f}",
            f"{statistics.median(map(memory, rounds)) / 2**20:,.0f}",
            f"{max(losses_apart(*pair) for pair in pairs):.0e}",
        )
    return shown


def seconds(figures: Figures) -> float:
    """Return the median CPU seconds of the steps after the warm-up."""
    ends = figures["cpu_seconds"][min(_WARM_UP_STEPS, len(figures["cpu_seconds"]) - 2) :]
    median: float = statistics.median(end - start for start, end in itertools.pairwise(ends))
    return median


def memory(figures: Figures) -> int:
    """Return the bytes at the peak over those before a model is loaded."""
    taken: int = figures["bytes_peak"] - figures["bytes_before"]
    return taken


def tokens_a_step(figures: Figures) -> float:
    """Return the mean over the steps, padding not counted."""
    tokens: float = figures["losses"]["tokens"][-1] / len(figures["losses"]["tokens"])
    return tokens


def losses_apart(mine: Figures, bare: Figures) -> float:
    """Return the largest difference of a loss of one step."""
    pairs = zip(mine["losses"]["loss"], bare["losses"]["loss"], strict=True)
    apart: float = max(abs(one - other) for one, other in pairs)
    return apart


if __name__ == "__main__":
    sys.exit(main())
