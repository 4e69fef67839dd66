"""What freezing parts of an encoder saves: CPU seconds of a step, and memory.

    python tests/bench/frozen.py [--small] [--rounds N] [--steps N] [--model DIRECTORY]

The encoder learns to classify 32 rows of 32 tokens a step with raykd's own loop, in float32 on
one thread: all of it, and with more and more of it frozen, up to the linear probe. The ways take
turns; each turn is a process of its own. Memory is the peak while it trains, of the process with
all that it has imported.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from raykd.batch import Batch
from raykd.config.frozen import parse_frozen
from raykd.config.schema.losses import CrossEntropyConfig, LossesConfig
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.run import TaskName
from raykd.config.schema.train import OptimizerConfig
from raykd.data.selection import DataState
from raykd.distill.loop import LoopOptions, StepBatches, TrainState, training_steps
from raykd.distill.optimizer import build_optimizer
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.losses.terms import build_terms
from raykd.models.build import Vocabulary, build_config, build_model
from raykd.models.load import load_model
from raykd.models.per_language import TaskModel
from raykd.models.scored import ScoredModel
from rich.console import Console
from rich.table import Table

TASK: TaskName = "sequence_classification"
LABELS = ("a", "b", "c")
ROWS, TOKENS = 32, 32
WAYS = ("nothing", "embeddings", "embeddings, layers below 6", "encoder")

Figures = dict[str, float]


def main() -> int:
    """Print the table, or the figures of one way where a parent process asks for them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--model", help="an encoder; without it a small one with random weights")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.model, num_steps=options.steps)))
        return 0
    rounds = 1 if options.small else options.rounds
    command = [sys.executable, __file__, "--steps", str(options.steps)]
    command += ["--model", options.model] if options.model else []
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}
    for _, way in itertools.product(range(rounds), WAYS):
        printed = subprocess.run([*command, "--way", way], stdout=subprocess.PIPE, check=True)
        found[way].append(json.loads(printed.stdout.splitlines()[-1]))
    Console(width=100).print(table(found))
    return 0


def measured(way: str, source: str | None, *, num_steps: int) -> Figures:
    """Train with what a way freezes; return what it took."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    student = ScoredModel(encoder(source), task=TASK, num_classes=len(LABELS))
    student.freeze(parse_frozen(() if way == "nothing" else way.split(", ")))
    objective = DistillationStep(
        student,
        ensemble=None,
        terms=build_terms(LossesConfig(cross_entropy=CrossEntropyConfig())),
        autocast_dtype=None,
    ).train()
    optimizer = OptimizerConfig(learning_rate=1e-4)
    state = TrainState(
        step=0,
        tokens=0,
        data=DataState(step=0, rows={}),
        optimizer=build_optimizer(objective, optimizer),
        student=student,
        projections=objective.projections,
    )
    options = LoopOptions(num_steps=num_steps + 1, seed=0, optimizer=optimizer)
    batches = StepBatches(micro_batches=(batch(student.model.config.vocab_size),), data=state.data)
    # Reading the weights took more than they hold: the peak begins anew here.
    Path("/proc/self/clear_refs").write_text("5")
    taken = training_steps(
        state, objective, itertools.repeat(batches), options=options, world=World()
    )
    seconds = []
    for number in range(num_steps + 1):
        started_at = time.process_time()
        next(taken)
        if number:  # the first time, memory and moments are made ready
            seconds.append(time.process_time() - started_at)
    trained = [p for p in student.parameters() if p.requires_grad]
    return {
        "trained": sum(p.numel() for p in trained),
        "seconds": statistics.median(seconds),
        "bytes": peak_bytes(),
    }


def encoder(source: str | None) -> TaskModel:
    """Return a model of a directory with a new head, or a small one with random weights."""
    if source is not None:
        return load_model(source, TASK, labels=LABELS)
    small = ArchitectureConfig(model_type="bert", num_layers=8, hidden_size=64, num_heads=4)
    data = Vocabulary(size=2_000, pad_id=0, max_length=TOKENS, labels=LABELS)
    return build_model(build_config(small, like=None, vocabulary=data), TASK)


def batch(num_words: int) -> Batch:
    """Return full rows of random tokens, classified by the first one."""
    return Batch(
        input_ids_BL=torch.randint(5, num_words, (ROWS, TOKENS)),
        attention_mask_BL=None,
        token_type_ids_BL=None,
        positions_P=TOKENS * torch.arange(ROWS),
        labels_P=torch.arange(ROWS) % len(LABELS),
        languages_B=torch.zeros(ROWS, dtype=torch.int64),
        row_ids_B=torch.arange(ROWS),
        epochs_B=torch.zeros(ROWS, dtype=torch.int64),
        num_tokens=ROWS * TOKENS,
    )


def table(found: dict[str, list[Figures]]) -> Table:
    """Return what each way took, and how often that goes into what it takes to train all."""
    shown = Table(title=f"a step of {ROWS} rows of {TOKENS} tokens, one thread")
    shown.add_column("frozen")
    for column in ("trained", "CPU s a step", "x", "MiB", "of all"):
        shown.add_column(column, justify="right")
    of_all = found["nothing"]
    for way, figures in found.items():
        pairs = zip(of_all, figures, strict=True)
        ratio = statistics.median(all_["seconds"] / one["seconds"] for all_, one in pairs)
        peak, whole = (max(one["bytes"] for one in some) for some in (figures, of_all))
        shown.add_row(
            way,
            f"{figures[0]['trained']:,.0f}",
            f"{statistics.median(one['seconds'] for one in figures):.2f}",
            f"{ratio:.2f}",
            f"{peak / 2**20:,.0f}",
            f"{peak / whole:.0%}",
        )
    return shown


def peak_bytes() -> int:
    """Return the most that this process has held since the peak began anew."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1_024 * int(peak.split()[1])


if __name__ == "__main__":
    sys.exit(main())
