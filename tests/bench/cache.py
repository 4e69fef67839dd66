"""What a cache of a teacher's outputs weighs, and what reading it costs beside the teacher.

    python tests/bench/cache.py [--small] [--rounds N]

A BERT of 8 layers of width 512 and 8,000 words, masked language modelling on rows of 128 tokens,
one thread. Batches of 16 rows anywhere in the data are read from every cache in turn, and the
teacher is asked about the same ones. Reading ends with what a loss is given: features and a head,
or sparse probabilities. Bytes are those of the files; the plan says them before anything is
written.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from raykd.batch import Batch
from raykd.config.schema.data import MaskingConfig
from raykd.data.manifest import Manifest
from raykd.models.scored import ScoredModel
from raykd.tasks.build import build_task
from raykd.teachers.cache.building import AskingWriter, Watch, build_cache
from raykd.teachers.cache.key import CacheKey, Masks
from raykd.teachers.cache.parts import Coverage
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.planner import planned_modes
from raykd.teachers.cache.reading import opened_cache
from raykd.teachers.cache.runner import TeacherRunner
from raykd.teachers.cached import CachedTeacher
from raykd.teachers.live import LiveTeacher
from rich.console import Console
from rich.table import Table

from tests.bench.support.token_set import ROW_TOKENS, TOKENIZER, wide_bert, write_token_set

BATCH_ROWS = 16
LIVE = "the teacher itself"
WAYS = (
    Payload(mode="hidden", precision="exact"),
    Payload(mode="hidden", precision="float16"),
    Payload(mode="hidden", precision="int8"),
    Payload(mode="top_k", size=64),
    Payload(mode="sampled", size=64),
    Payload(mode="logits", precision="float16"),
)
CPU = torch.device("cpu")


def runner_of(manifest: Manifest, *, num_layers: int) -> TeacherRunner:
    """Return who asks a BERT of random weights."""
    task = build_task(
        "masked_lm",
        tokenizer=TOKENIZER,
        labels=None,
        masking=MaskingConfig(),
        seed=0,
        summary="first",
    )
    model = ScoredModel(
        wide_bert(num_layers=num_layers), task="masked_lm", num_classes=TOKENIZER.vocab_size
    )
    return TeacherRunner(
        name="bench",
        manifest=manifest,
        task=task,
        teacher=LiveTeacher(model),
        batch_size=BATCH_ROWS,
        device=CPU,
    )


def key_of(manifest: Manifest, payload: Payload) -> CacheKey:
    """Return the key of a cache."""
    return CacheKey(
        teacher="bench",
        dtype="float32",
        data=manifest.fingerprint,
        tokenizer=TOKENIZER.fingerprint,
        task="masked_lm",
        masks=Masks(masking=MaskingConfig(), seed=0),
        payload=payload,
    )


def random_batches(runner: TeacherRunner, number: int) -> list[Batch]:
    """Return batches of rows from anywhere in the data."""
    (shard,) = runner.manifest.shards("train")
    generator = np.random.default_rng(0)
    rows = runner.rows(shard, 0, shard.rows, epoch=0)
    return [
        runner.task.collate(rows.take(generator.choice(shard.rows, BATCH_ROWS, replace=False)))
        for _ in range(number)
    ]


def median_ms(ask: Callable[[Batch], object], batches: list[Batch]) -> float:
    """Return the median time to ask about a batch."""
    times = []
    for batch in batches:
        begun = time.perf_counter()
        ask(batch)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def measured(directory: Path, *, num_rows: int, num_layers: int, rounds: int) -> Table:
    """Build every cache, and read them in turn."""
    manifest = write_token_set(directory / "data", num_rows=num_rows, batch_rows=64)
    runner = runner_of(manifest, num_layers=num_layers)
    coverages = [
        Coverage(shard=shard, epoch=0, ranges=(range(shard.rows),))
        for shard in manifest.shards("train")
    ]
    plans = planned_modes(runner, coverages, WAYS, temperatures=(1.0,))
    batches = random_batches(runner, 10)
    with ExitStack() as stack:
        ways: dict[str, Callable[[Batch], object]] = {LIVE: runner.scores}
        sizes: dict[str, int] = {}
        for payload in WAYS:
            uri, key = str(directory / str(payload)), key_of(manifest, payload)
            build_cache(uri, key, coverages, AskingWriter(runner), Watch())
            files = Path(uri, "records").rglob("*.arrow")
            sizes[str(payload)] = sum(file.stat().st_size for file in files)
            cache = stack.enter_context(opened_cache(uri, key, languages=manifest.languages))
            ways[str(payload)] = CachedTeacher(cache, device=CPU)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, ask in ways.items():
                times[name].append(median_ms(ask, batches))
    tokens = num_rows * ROW_TOKENS
    table = Table(title=f"A teacher's outputs on {tokens:,} tokens, {num_layers} layers x 512")
    table.add_column("kept")
    for column in ("bytes/token", "planned", "gradient off", "ms per batch", "x teacher"):
        table.add_column(column, justify="right")
    live = times.pop(LIVE)
    table.add_row(LIVE, "", "", "", f"{statistics.median(live):.2f}", "1")
    for plan in plans:
        name = str(plan.payload)
        ratio = statistics.median(a / b for a, b in zip(live, times[name], strict=True))
        table.add_row(
            name,
            f"{sizes[name] / tokens:.1f}",
            f"{plan.bytes_per_token:.1f}",
            f"{plan.gradient_error:.2%}",
            f"{statistics.median(times[name]):.2f}",
            f"{ratio:,.0f}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="less of everything, for a test")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as directory:
        table = measured(
            Path(directory),
            num_rows=64 if options.small else 128,
            num_layers=2 if options.small else 8,
            rounds=1 if options.small else options.rounds,
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
