"""What reading costs beside a training step of a small BERT on one thread."""

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

from raykd.batch import Batch
from raykd.config.schema.train import OptimizerConfig
from raykd.distill.optimizer import build_optimizer
from raykd.models.scored import ScoredModel
from rich.table import Table
from transformers import BertConfig, BertForMaskedLM

from tests.bench.support.loaders import BATCH_ROWS
from tests.bench.support.token_set import ROW_TOKENS, TOKENIZER
from tests.unit.losses.on_logits import cross_entropy


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """Medians over the steps."""

    step_seconds: float
    """Forward, backward and AdamW."""

    waiting_seconds: float
    """Until the batch of the step is there."""


def trained(batches: Iterable[Batch]) -> StepTime:
    """Train a BERT of 2 layers of width 128 on batches, its head on masked positions only."""
    config = BertConfig(
        vocab_size=TOKENIZER.vocab_size,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=ROW_TOKENS,
    )
    model = ScoredModel(
        BertForMaskedLM(config), task="masked_lm", num_classes=TOKENIZER.vocab_size
    )
    optimizer = build_optimizer(model, OptimizerConfig())
    times = []
    asked = time.perf_counter()
    for batch in batches:
        received = time.perf_counter()
        cross_entropy(model(batch).logits_PK, batch.labels_P).mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        finished = time.perf_counter()
        times.append((received - asked, finished - received))
        asked = finished
    # The first step also opens files and allocates the state of AdamW.
    waits, steps = zip(*times[1:], strict=True)
    return StepTime(
        step_seconds=statistics.median(steps), waiting_seconds=statistics.median(waits)
    )


def share_table(seconds_per_batch: dict[str, float], *, step_seconds: float) -> Table:
    """Return what a batch costs in each way, beside a training step."""
    rate = BATCH_ROWS * ROW_TOKENS / step_seconds
    table = Table(
        title=f"Beside a training step of {step_seconds * 1e3:.1f} ms, {rate:,.0f} tokens/s"
    )
    table.add_column("way")
    for column in ("ms per batch", "share of a step"):
        table.add_column(column, justify="right")
    for name, seconds in seconds_per_batch.items():
        table.add_row(name, f"{seconds * 1e3:.3f}", f"{seconds / step_seconds:.2%}")
    return table
