"""Ways to read a prepared data set once through: each yields int64 token ids of [32, 128].

All run in this process, without worker processes; raykd and Arrow decode on threads of it.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import torch
from raykd.batch import Batch, Rows
from raykd.config.schema.data import DataConfig, MaskingConfig
from raykd.config.schema.run import TaskName
from raykd.data.manifest import Manifest
from raykd.data.selection import initial_state, rows_per_epoch
from raykd.data.stream import training_rows
from raykd.storage import uris
from raykd.tasks.build import build_task
from tokenizers import Tokenizer, models
from torch.utils.data import DataLoader
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerFast

from tests.bench.support.token_set import ROW_TOKENS, TOKENIZER

BATCH_ROWS = 32
_SHUFFLE_ROWS = 10_000

Batches = Callable[[], Iterator[torch.Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One way to read."""

    name: str
    does: str
    batches: Batches
    masks: bool = False
    """Whether it also masks tokens for masked-language modelling."""


def reading_rows(manifest: Manifest, config: DataConfig) -> Iterator[Rows]:
    """Yield the rows of every step of one epoch."""
    steps = training_rows(
        manifest,
        config,
        seed=0,
        global_batch_size=BATCH_ROWS,
        worker=(0, 1),
        state=initial_state(manifest, config),
    )
    for step in itertools.islice(steps, rows_per_epoch(manifest, config) // BATCH_ROWS):
        yield step.rows


def task_batches(manifest: Manifest, config: DataConfig, *, task: TaskName) -> Iterator[Batch]:
    """Yield the batches of every step of one epoch as training gets them."""
    built = build_task(
        task,
        tokenizer=manifest.tokenizer,
        labels=None,
        masking=MaskingConfig(),
        seed=0,
        summary="first",
    )
    for rows in reading_rows(manifest, config):
        for piece in rows.split(BATCH_ROWS):
            yield built.collate(piece)


def raykd_ways(manifest: Manifest, config: DataConfig) -> list[Way]:
    """Return raykd's own ways: rows alone, and with the collation of two tasks."""

    def rows() -> Iterator[torch.Tensor]:
        for step in reading_rows(manifest, config):
            yield torch.from_numpy(step.token_ids_T).view(-1, ROW_TOKENS)

    def batches(task: TaskName) -> Iterator[torch.Tensor]:
        return (batch.input_ids_BL for batch in task_batches(manifest, config, task=task))

    return [
        Way(name="raykd rows", does="shuffled rows, no collation", batches=rows),
        Way(
            name="raykd causal_lm",
            does="shuffled rows, padded, next tokens scored",
            batches=lambda: batches("causal_lm"),
        ),
        Way(
            name="raykd masked_lm",
            does="shuffled rows, padded, masked by hash",
            batches=lambda: batches("masked_lm"),
            masks=True,
        ),
    ]


def datasets_ways(manifest: Manifest, cache: Path) -> list[Way]:
    """Return the ways of ``datasets``, with and without the collator of transformers."""
    datasets.disable_progress_bars()
    files = _files(manifest)
    mapped = datasets.load_dataset(
        "arrow", data_files=files, split="train", cache_dir=str(cache)
    ).select_columns(["input_ids"])
    streamed = datasets.load_dataset(
        "arrow", data_files=files, split="train", streaming=True
    ).select_columns(["input_ids"])
    map_style = mapped.with_format("torch")
    shuffled = streamed.with_format("torch").shuffle(seed=0, buffer_size=_SHUFFLE_ROWS)
    collator = DataCollatorForLanguageModeling(_tokenizer())

    def map_loader(collate: DataCollatorForLanguageModeling | None) -> Iterator[torch.Tensor]:
        loader = DataLoader(map_style, batch_size=BATCH_ROWS, shuffle=True, collate_fn=collate)
        return (batch["input_ids"] for batch in loader)

    def iterable_loader(
        collate: DataCollatorForLanguageModeling | None,
    ) -> Iterator[torch.Tensor]:
        loader = DataLoader(shuffled, batch_size=BATCH_ROWS, collate_fn=collate)
        return (batch["input_ids"] for batch in loader)

    def in_order() -> Iterator[torch.Tensor]:
        for table in streamed.with_format("arrow").iter(BATCH_ROWS):
            yield _as_batch(table["input_ids"].combine_chunks().flatten())

    return [
        Way(
            name="datasets map",
            does="shuffled at random, torch format, DataLoader",
            batches=lambda: map_loader(None),
        ),
        Way(
            name="datasets iterable",
            does=f"shuffled among {_SHUFFLE_ROWS:,}, torch format, DataLoader",
            batches=lambda: iterable_loader(None),
        ),
        Way(
            name="datasets iterable, in order",
            does="not shuffled, arrow format, .iter",
            batches=in_order,
        ),
        Way(
            name="datasets map, masked",
            does="as without, and transformers' collator",
            batches=lambda: map_loader(collator),
            masks=True,
        ),
        Way(
            name="datasets iterable, masked",
            does="as without, and transformers' collator",
            batches=lambda: iterable_loader(collator),
            masks=True,
        ),
    ]


def pyarrow_way(manifest: Manifest) -> Way:
    """Return the floor: record batches in order, reshaped, nothing else."""

    def in_order() -> Iterator[torch.Tensor]:
        for file in _files(manifest):
            with pa.OSFile(file) as source:
                reader = pa.ipc.open_file(source)
                for index in range(reader.num_record_batches):
                    ids = _as_batch(reader.get_batch(index)["input_ids"].flatten())
                    yield from ids.split(BATCH_ROWS)

    return Way(name="pyarrow, in order", does="not shuffled, reshaped", batches=in_order)


def _as_batch(tokens: pa.Array) -> torch.Tensor:
    return torch.from_numpy(tokens.to_numpy().astype(np.int64)).view(-1, ROW_TOKENS)


def _files(manifest: Manifest) -> list[str]:
    return [uris.join(manifest.uri, shard.path) for shard in manifest.shards("train")]


def _tokenizer() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"word{id_}" for id_ in range(len(special), TOKENIZER.vocab_size))]
    vocabulary = {word: id_ for id_, word in enumerate(words)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")),  # noqa: S106
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
    )
