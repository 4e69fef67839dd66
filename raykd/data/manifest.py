"""What a prepared data set is: its files, its columns, its tokenizer, its counts.

    DATA_URI/
      manifest.json  COMMITTED      see raykd.storage; the content is a Manifest
      tokenizer/                    a transformers tokenizer directory
      train/en-00000.arrow          Arrow IPC files of one language each, one folder a split
      validation/en-00000.arrow

Columns of a shard: ``input_ids`` (list of the smallest unsigned type that holds the
vocabulary), ``row_id`` (int64, unique in the data set), ``language`` (dictionary of string),
and where the data has them ``label`` (int32), ``word_labels`` (list of int16, one per token,
-100 where no word begins) and ``token_type_ids`` (list of uint8).
"""

from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from raykd import storage
from raykd.errors import DataError

KIND = "data"
TOKENIZER_DIRECTORY = "tokenizer"
NO_LABEL = -100

RECORD_BATCH_BYTES = 1 << 20
"""Of a record batch before compression; smaller in small splits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerInfo:
    """What training needs to know about a tokenizer without loading it."""

    fingerprint: str
    """Hash of id -> token, special ids and normaliser: equal means interchangeable."""

    vocab_size: int
    """Number of ids, added tokens included."""

    pad_id: int
    mask_id: int | None
    special_ids: tuple[int, ...]
    """Ids that masked-language modelling never hides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One Arrow IPC file of one language."""

    path: str
    """Relative to the data set's directory."""

    language: str
    batch_rows: tuple[int, ...]
    """Rows of each record batch: the index that makes seeking a matter of arithmetic."""

    tokens: int

    @property
    def rows(self) -> int:
        """Rows in the file."""
        return sum(self.batch_rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A prepared data set; what lies in it beside its shards' bytes."""

    uri: str
    fingerprint: str
    """The sha256 of the manifest file, and so of every byte of the data set."""

    languages: tuple[str, ...]
    """Sorted; a row's language is an index into this list."""

    tokenizer: TokenizerInfo
    max_length: int
    """Tokens of the longest row, special tokens included."""

    labels: tuple[str, ...] | None
    """Names of the classes of ``label``."""

    word_labels: tuple[str, ...] | None
    """Names of the classes of ``word_labels``, such as O, B-PER, I-PER."""

    has_token_types: bool
    options: dict[str, Any]
    """The exact options that made the data set."""

    splits: dict[str, tuple[Shard, ...]]

    def labels_of(self, task: str) -> tuple[str, ...] | None:
        """Return the class names of a classification task; None where there are none."""
        return {
            "sequence_classification": self.labels,
            "token_classification": self.word_labels,
        }.get(task)

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split.

        Raises:
            DataError: There is no such split, or it is empty.
        """
        if not (shards := self.splits.get(split)):
            message = f"{self.uri}: has no split {split!r}; it has {sorted(self.splits)}"
            raise DataError(message)
        return shards


def row_schema(vocab_size: int, *, has_label: bool, has_words: bool, has_types: bool) -> pa.Schema:
    """Return the columns of a shard."""
    token_type = pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()
    fields = [
        pa.field("input_ids", pa.list_(token_type)),
        pa.field("row_id", pa.int64()),
        pa.field("language", pa.dictionary(pa.int16(), pa.string())),
    ]
    if has_label:
        fields.append(pa.field("label", pa.int32()))
    if has_words:
        fields.append(pa.field("word_labels", pa.list_(pa.int16())))
    if has_types:
        fields.append(pa.field("token_type_ids", pa.list_(pa.uint8())))
    return pa.schema(fields)


def manifest_content(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as the JSON content of a published directory."""
    content = asdict(manifest)
    del content["uri"], content["fingerprint"]
    return content


def read_manifest(uri: str) -> Manifest:
    """Open a prepared data set.

    Raises:
        PublicationError: Nothing is committed at the URI.
        DataError: The manifest does not have the fields of this version.
    """
    published = storage.read_published(uri, kind=KIND)
    content = published.content
    try:
        tokenizer = content["tokenizer"]
        return Manifest(
            uri=uri,
            fingerprint=published.fingerprint,
            languages=tuple(content["languages"]),
            tokenizer=TokenizerInfo(
                **{**tokenizer, "special_ids": tuple(tokenizer["special_ids"])}
            ),
            max_length=content["max_length"],
            labels=_optional_tuple(content["labels"]),
            word_labels=_optional_tuple(content["word_labels"]),
            has_token_types=content["has_token_types"],
            options=content["options"],
            splits={
                name: tuple(
                    Shard(**{**shard, "batch_rows": tuple(shard["batch_rows"])})
                    for shard in shards
                )
                for name, shards in content["splits"].items()
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        message = f"{uri}: the manifest lacks or misstates a field: {error}; prepare it again"
        raise DataError(message) from error


def _optional_tuple(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
