"""What a prepared data set is: its files, its columns, its tokenizer, its counts.

    DATA_URI/
      manifest.json  COMMITTED      see raykd.storage.uris; the content is a Manifest
      tokenizer/                    a transformers tokenizer directory
      train/en-00000.arrow          Arrow IPC files of one language each, one folder a split
      validation/en-00000.arrow

Columns of a shard: ``input_ids`` (list of the smallest unsigned type that holds the
vocabulary), ``row_id`` (int64, unique in the data set), ``language`` (dictionary of string),
and where the data has them ``label`` (int32, or float32 where it is a number), ``word_labels``
(list of int16, one per token, -100 where no word begins) and ``token_type_ids`` (list of uint8).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

import pyarrow as pa

from raykd.config.schema.prepare import NUMBER
from raykd.data.json_values import (
    boolean,
    fields_of,
    integer,
    integers,
    listed,
    mapping,
    path_within,
    text,
    texts,
)
from raykd.data.row_filter import RowFilter
from raykd.errors import DataError
from raykd.storage.published.directory import Published, read_published

KIND = "data"
TOKENIZER_DIRECTORY = "tokenizer"
NO_LABEL = -100

_NOT_STORED = ("uri", "fingerprint", "row_filters")
"""Fields of a manifest that are known when it is read."""

RECORD_BATCH_BYTES = 1 << 20
"""Size of a record batch before compression; smaller in small splits."""


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
    """A hash of all that is computed from: shards, tokenizer, classes, languages, splits. Where
    the sources lay, and who prepared the data when, do not count."""

    languages: tuple[str, ...]
    """Sorted; a row's language is an index into this list."""

    tokenizer: TokenizerInfo
    max_length: int
    """Tokens of the longest row, special tokens included."""

    labels: tuple[str, ...] | None
    """Names of the classes of ``label``; NUMBER where it is a number."""

    word_labels: tuple[str, ...] | None
    """Names of the classes of ``word_labels``, such as O, B-PER, I-PER."""

    has_token_types: bool
    options: dict[str, object]
    """The exact options that made the data set."""

    splits: dict[str, tuple[Shard, ...]]

    row_filters: Mapping[str, RowFilter] = field(default_factory=dict)
    """Of each shard, by its path, that is read in part: then its rows and tokens above are those
    that are kept, see ``raykd.data.fraction``."""

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


def row_schema(
    vocab_size: int, *, labels: tuple[str, ...] | None, has_words: bool, has_types: bool
) -> pa.Schema:
    """Return the columns of a shard, whose rows have these labels."""
    # Two bytes a token instead of four where all ids fit.
    token_type = pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()
    columns = [
        pa.field("input_ids", pa.list_(token_type)),
        pa.field("row_id", pa.int64()),
        pa.field("language", pa.dictionary(pa.int16(), pa.string())),
    ]
    if labels is not None:
        columns.append(pa.field("label", pa.float32() if labels == NUMBER else pa.int32()))
    if has_words:
        columns.append(pa.field("word_labels", pa.list_(pa.int16())))
    if has_types:
        columns.append(pa.field("token_type_ids", pa.list_(pa.uint8())))
    return pa.schema(columns)


def manifest_content(manifest: Manifest) -> dict[str, object]:
    """Return a manifest as the JSON content of a published directory."""
    content = asdict(manifest)
    for name in _NOT_STORED:
        del content[name]
    return content


def read_manifest(uri: str) -> Manifest:
    """Open a prepared data set.

    Raises:
        PublicationError: Nothing is committed at the URI.
        DataError: The manifest does not have the fields of this version, or a value that
            cannot be, such as a shard outside the directory.
    """
    published = read_published(uri, kind=KIND)
    try:
        return _manifest(published.content, uri=uri, fingerprint=_fingerprint(published))
    except ValueError as error:
        message = f"{uri}: the manifest misstates the data: {error}; prepare the data again"
        raise DataError(message) from error


def _fingerprint(published: Published) -> str:
    decisive = {name: value for name, value in published.content.items() if name != "options"}
    # tokenizer.json alone decides the tokens; the other files also say where they came from.
    tokenizer = f"{TOKENIZER_DIRECTORY}/tokenizer.json"
    hashes = {
        name: file["sha256"]
        for name, file in published.files.items()
        if name == tokenizer or not name.startswith(f"{TOKENIZER_DIRECTORY}/")
    }
    text = json.dumps([decisive, hashes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _manifest(content: object, *, uri: str, fingerprint: str) -> Manifest:
    names = tuple(f.name for f in fields(Manifest) if f.name not in _NOT_STORED)
    given = fields_of(content, names, "content")
    languages = texts(given["languages"], "languages")
    return Manifest(
        uri=uri,
        fingerprint=fingerprint,
        languages=languages,
        tokenizer=_tokenizer(given["tokenizer"]),
        max_length=integer(given["max_length"], "max_length", minimum=1, below=1 << 31),
        labels=_optional_texts(given["labels"], "labels"),
        word_labels=_optional_texts(given["word_labels"], "word_labels"),
        has_token_types=boolean(given["has_token_types"], "has_token_types"),
        options=mapping(given["options"], "options"),
        splits={
            name: tuple(
                _shard(shard, f"splits.{name}[{index}]", languages=languages)
                for index, shard in enumerate(listed(shards, f"splits.{name}"))
            )
            for name, shards in mapping(given["splits"], "splits").items()
        },
    )


def _tokenizer(value: object) -> TokenizerInfo:
    names = tuple(field.name for field in fields(TokenizerInfo))
    given = fields_of(value, names, "tokenizer")
    size = integer(given["vocab_size"], "tokenizer.vocab_size", minimum=1, below=1 << 31)
    mask_id = given["mask_id"]
    return TokenizerInfo(
        fingerprint=text(given["fingerprint"], "tokenizer.fingerprint"),
        vocab_size=size,
        pad_id=integer(given["pad_id"], "tokenizer.pad_id", minimum=0, below=size),
        mask_id=None
        if mask_id is None
        else integer(mask_id, "tokenizer.mask_id", minimum=0, below=size),
        special_ids=integers(given["special_ids"], "tokenizer.special_ids", minimum=0, below=size),
    )


def _shard(value: object, where: str, *, languages: tuple[str, ...]) -> Shard:
    given = fields_of(value, tuple(field.name for field in fields(Shard)), where)
    language = text(given["language"], f"{where}.language")
    if language not in languages:
        message = f"{where}.language is {language!r}, which is none of languages"
        raise ValueError(message)
    return Shard(
        path=path_within(given["path"], f"{where}.path"),
        language=language,
        batch_rows=integers(given["batch_rows"], f"{where}.batch_rows", minimum=1),
        tokens=integer(given["tokens"], f"{where}.tokens", minimum=0),
    )


def _optional_texts(value: object, where: str) -> tuple[str, ...] | None:
    return None if value is None else texts(value, where)
