"""Small prepared data sets, written by the very code that publishes real ones."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from raykd.data.manifest import (
    KIND,
    TOKENIZER_DIRECTORY,
    Manifest,
    Shard,
    manifest_content,
    read_manifest,
    row_schema,
)
from raykd.data.tokenizers import tokenizer_info
from raykd.storage.published.publishing import publishing
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 64
PAD, UNKNOWN, CLS, SEP, MASK = range(5)


def word_tokenizer(vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """Return a tokenizer of a few words, five of them special."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{index}" for index in range(vocab_size - len(special)))]
    model = WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")  # noqa: S106  no password
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model),
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
    )


def write_prepared(  # noqa: PLR0913  each is a way in which data differ
    path: Path,
    splits: dict[str, dict[str, list[int]]],
    *,
    labels: tuple[str, ...] | None = None,
    word_labels: tuple[str, ...] | None = None,
    max_length: int = 16,
    seed: int = 0,
    vocab_size: int = VOCAB_SIZE,
) -> Manifest:
    """Publish random rows; ``splits`` maps split to language to rows of each record batch.

    Tokens follow a simple rule (each is the one before plus 1 or 2), so a model can learn.
    """
    generator = np.random.default_rng(seed)
    schema = row_schema(
        VOCAB_SIZE,
        labels=labels,
        has_words=word_labels is not None,
        has_types=False,
    )
    next_id = 0
    shards: dict[str, tuple[Shard, ...]] = {}
    tokenizer = word_tokenizer(vocab_size)
    with publishing(str(path), kind=KIND, overwrites=True) as publication:
        tokenizer.save_pretrained(publication.path / TOKENIZER_DIRECTORY)
        for split, languages in splits.items():
            (publication.path / split).mkdir()
            for language, batch_rows in languages.items():
                name = f"{split}/{language}-00000.arrow"
                tokens = 0
                with (
                    pa.OSFile(str(publication.path / name), "wb") as sink,
                    pa.ipc.new_file(sink, schema) as writer,
                ):
                    for num_rows in batch_rows:
                        columns, count = _columns(
                            generator,
                            num_rows,
                            language=language,
                            labels=labels,
                            word_labels=word_labels,
                            max_length=max_length,
                        )
                        columns["row_id"] = list(range(next_id, next_id + num_rows))
                        next_id += num_rows
                        tokens += count
                        writer.write_batch(pa.RecordBatch.from_pydict(columns, schema=schema))
                shard = Shard(
                    path=name, language=language, batch_rows=tuple(batch_rows), tokens=tokens
                )
                shards[split] = (*shards.get(split, ()), shard)
        publication.content.update(
            manifest_content(
                Manifest(
                    uri="",
                    fingerprint="",
                    languages=tuple(sorted({lang for split in splits.values() for lang in split})),
                    tokenizer=tokenizer_info(tokenizer),
                    max_length=max_length,
                    labels=labels,
                    word_labels=word_labels,
                    has_token_types=False,
                    options={},
                    splits=shards,
                )
            )
        )
    return read_manifest(str(path))


def _columns(
    generator: np.random.Generator,
    num_rows: int,
    *,
    language: str,
    labels: tuple[str, ...] | None,
    word_labels: tuple[str, ...] | None,
    max_length: int,
) -> tuple[dict[str, object], int]:
    lengths = generator.integers(6, max_length + 1, size=num_rows)
    bodies = [
        5 + (generator.integers(59) + np.cumsum(generator.integers(1, 3, size=n - 2))) % 59
        for n in lengths
    ]
    columns: dict[str, object] = {
        "input_ids": [[CLS, *body.tolist(), SEP] for body in bodies],
        "language": [language] * num_rows,
    }
    if labels is not None:
        # A number between 0 and 5, as STS-B has.
        columns["label"] = [
            int(body[0]) % len(labels) if labels else float(body.mean()) / VOCAB_SIZE * 5
            for body in bodies
        ]
    if word_labels is not None:
        columns["word_labels"] = [
            [-100, *(int(t) % len(word_labels) for t in body), -100] for body in bodies
        ]
    return columns, int(lengths.sum())
