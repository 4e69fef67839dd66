"""A prepared data set of random tokens, as large as asked, written in seconds."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from raykd.data.manifest import (
    KIND,
    TOKENIZER_DIRECTORY,
    Manifest,
    Shard,
    TokenizerInfo,
    manifest_content,
    read_manifest,
    row_schema,
)
from raykd.data.prepare.writer import ShardWriter
from raykd.data.tokenizers import tokenizer_info
from raykd.storage.published.publishing import publishing
from transformers import BertConfig, BertForMaskedLM

from tests.prepared import word_tokenizer

ROW_TOKENS = 128
WORDS = 8_000
TOKENIZER = tokenizer_info(word_tokenizer(WORDS))
_BYTES_PER_TOKEN = 2


def batch_bytes(batch_rows: int) -> int:
    """Return the bytes of the tokens in a record batch, as they lie in memory."""
    return batch_rows * ROW_TOKENS * _BYTES_PER_TOKEN


def write_token_set(
    path: Path, *, num_rows: int, batch_rows: int, num_eval_rows: int = 0, words: int = WORDS
) -> Manifest:
    """Publish rows of 128 tokens, uint16 and zstd, in one language."""
    tokenizer = word_tokenizer(words)
    info = tokenizer_info(tokenizer)
    schema = row_schema(words, labels=None, has_words=False, has_types=False)
    generator = np.random.default_rng(0)
    with publishing(str(path), kind=KIND) as publication:
        tokenizer.save_pretrained(publication.path / TOKENIZER_DIRECTORY)

        def written(split: str, first: int, last: int) -> tuple[Shard, ...]:
            writer = ShardWriter(
                publication.path, schema, split=split, language="en", batch_rows=batch_rows
            )
            for start in range(first, last, batch_rows):
                stop = min(start + batch_rows, last)
                writer.append(_columns(generator, info, start, stop))
            return tuple(writer.close())

        splits = {"train": written("train", 0, num_rows)}
        if num_eval_rows:
            splits["validation"] = written("validation", num_rows, num_rows + num_eval_rows)
        manifest = Manifest(
            uri="",
            fingerprint="",
            languages=("en",),
            tokenizer=info,
            max_length=ROW_TOKENS,
            labels=None,
            word_labels=None,
            has_token_types=False,
            options={},
            splits=splits,
        )
        publication.content.update(manifest_content(manifest))
    return read_manifest(str(path))


def wide_bert(*, num_layers: int, words: int = WORDS) -> BertForMaskedLM:
    """Return a teacher of width 512 and random weights, the same each time."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=words,
        hidden_size=512,
        num_hidden_layers=num_layers,
        num_attention_heads=8,
        intermediate_size=2048,
        max_position_embeddings=ROW_TOKENS,
    )
    return BertForMaskedLM(config)


def _columns(
    generator: np.random.Generator, tokenizer: TokenizerInfo, start: int, stop: int
) -> dict[str, pa.Array]:
    """Draw ids with the frequencies of Zipf's law: uniform on a logarithmic scale."""
    first = len(tokenizer.special_ids)
    uniform = generator.random((stop - start) * ROW_TOKENS, dtype=np.float32)
    ranks = np.exp(uniform * np.log(tokenizer.vocab_size - first)).astype(np.uint16)
    offsets = np.arange(0, len(ranks) + 1, ROW_TOKENS, dtype=np.int32)
    tokens = pa.array(ranks - np.uint16(1) + np.uint16(first))
    return {
        "input_ids": pa.ListArray.from_arrays(pa.array(offsets), tokens),
        "row_id": pa.array(np.arange(start, stop)),
    }
