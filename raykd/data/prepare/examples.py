"""Raw rows to tokenised examples, and the reasons why some are refused."""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from tokenizers import Encoding, Tokenizer

from raykd import storage
from raykd.data.manifest import NO_LABEL
from raykd.data.prepare.raw_rows import RawRows
from raykd.errors import ConfigError

EXAMPLE_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string()),
        pa.field("language", pa.string()),
        pa.field("input_ids", pa.list_(pa.uint32())),
        pa.field("label", pa.int32()),
        pa.field("word_labels", pa.list_(pa.int16())),
        pa.field("token_type_ids", pa.list_(pa.uint8())),
    ]
)
"""Tokenised examples of all splits and languages; columns that the data lacks are null."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How rows become examples; hashable, so that each process makes its encoder once."""

    tokenizer_uri: str
    """A ``tokenizer.json``."""

    max_length: int
    packs: bool
    has_types: bool
    labels: tuple[str, ...] | None
    """Allowed labels, of rows or of words."""

    validation_fraction: float
    language: str
    """Language of rows without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """How many rows were refused for one reason, and where the first of them is."""

    reason: str
    rows: int
    uri: str
    unit: str
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """What became of some raw rows."""

    table: pa.Table
    """Columns of EXAMPLE_SCHEMA, in the order of the rows."""

    truncated: int
    """Rows that were cut at max_length."""

    rejections: tuple[Rejection, ...]


def merged(rejections: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """Add up rejections by reason; the place is that of the first."""
    found: dict[str, Rejection] = {}
    for one in rejections:
        if (first := found.get(one.reason)) is None:
            found[one.reason] = one
        else:
            found[one.reason] = Rejection(**{**asdict(first), "rows": first.rows + one.rows})
    return tuple(found.values())


class Encoder:
    """Turns raw rows into examples by one recipe.

    Raises:
        ConfigError: This machine does not reach the tokenizer.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._tokenizer = Tokenizer.from_str(_read(recipe.tokenizer_uri))
        self._tokenizer.no_padding()
        if recipe.packs:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(recipe.max_length)
        self._label_ids = {label: index for index, label in enumerate(recipe.labels or ())}
        # Byte-level tokenizers write " word" inside a sentence and "word" at its start.
        plain, spaced = (self._ids_of(text) for text in ("a", " a"))
        self._word_prefix = "" if plain == spaced else " "

    def encode(self, pieces: Sequence[RawRows]) -> Examples:
        """Return the examples of all rows that are fit, and a count of those that are not."""
        rejected: list[Rejection] = []
        fit: list[tuple[RawRows, int]] = []
        for rows in pieces:
            for index in range(len(rows.texts)):
                if (reason := self._fault(rows, index)) is None:
                    fit.append((rows, index))
                else:
                    rejected.append(_rejection(reason, rows, index))
        encodings = self._encodings(fit)
        kept = []
        special = 0 if self._recipe.packs else self._num_special(fit)
        for (rows, index), encoding in zip(fit, encodings, strict=True):
            if len(encoding.ids) > special:
                kept.append((rows, index, encoding))
            else:
                rejected.append(_rejection("text without a single token", rows, index))
        return Examples(
            table=self._table(kept),
            truncated=sum(self._is_truncated(encoding) for _, _, encoding in kept),
            rejections=merged(rejected),
        )

    def _num_special(self, fit: list[tuple[RawRows, int]]) -> int:
        has_pairs = bool(fit) and fit[0][0].pairs is not None
        return int(self._tokenizer.num_special_tokens_to_add(has_pairs))

    def _fault(self, rows: RawRows, index: int) -> str | None:
        if index in rows.faults:
            return rows.faults[index]
        texts = [rows.texts[index], *([] if rows.pairs is None else [rows.pairs[index]])]
        for text in texts:
            if text is None:
                return "missing text"
            if not text.strip():
                return "empty text"
            if "\ufffd" in text:
                return "undecodable bytes"
        return self._label_fault(rows, index) or self._word_label_fault(rows, index)

    def _label_fault(self, rows: RawRows, index: int) -> str | None:
        if rows.labels is None:
            return None
        label = rows.labels[index]
        if label is None:
            return "missing label"
        return None if label in self._label_ids else "label outside the set"

    def _word_label_fault(self, rows: RawRows, index: int) -> str | None:
        if rows.words is None or rows.word_labels is None:
            return None
        words, labels = rows.words[index], rows.word_labels[index]
        if words is None or labels is None or None in labels:
            return "missing label"
        if len(words) != len(labels):
            return "words and labels of different lengths"
        is_known = all(label in self._label_ids for label in labels)
        return None if is_known else "label outside the set"

    def _encodings(self, fit: list[tuple[RawRows, int]]) -> list[Encoding]:
        inputs = [self._input(rows, index) for rows, index in fit]
        has_words = bool(fit) and fit[0][0].words is not None
        # The fast way does not say which token belongs to which word.
        encode = self._tokenizer.encode_batch if has_words else self._tokenizer.encode_batch_fast
        encodings: list[Encoding] = encode(
            inputs, is_pretokenized=has_words, add_special_tokens=not self._recipe.packs
        )
        return encodings

    def _input(self, rows: RawRows, index: int) -> Any:
        if rows.words is not None:
            words = rows.words[index] or []
            return [words[0], *(self._word_prefix + word for word in words[1:])]
        if rows.pairs is not None:
            return rows.texts[index], rows.pairs[index]
        return rows.texts[index]

    def _is_truncated(self, encoding: Encoding) -> bool:
        return len(encoding.ids) == self._recipe.max_length and bool(encoding.overflowing)

    def _table(self, kept: list[tuple[RawRows, int, Encoding]]) -> pa.Table:
        fraction = self._recipe.validation_fraction
        columns = {
            "split": [rows.split_of(i, validation_fraction=fraction) for rows, i, _ in kept],
            "language": [self._language(rows, i) for rows, i, _ in kept],
            "input_ids": [encoding.ids for _, _, encoding in kept],
            "label": [self._label_id(rows, i) for rows, i, _ in kept],
            "word_labels": [self._word_label_ids(rows, i, e) for rows, i, e in kept],
            "token_type_ids": [e.type_ids if self._recipe.has_types else None for _, _, e in kept],
        }
        return pa.table(columns, schema=EXAMPLE_SCHEMA)

    def _language(self, rows: RawRows, index: int) -> str:
        found = None if rows.languages is None else rows.languages[index]
        return found or self._recipe.language

    def _label_id(self, rows: RawRows, index: int) -> int | None:
        if rows.labels is None:
            return None
        return self._label_ids[rows.labels[index] or ""]

    def _word_label_ids(self, rows: RawRows, index: int, encoding: Encoding) -> list[int] | None:
        """Put the label of each word on its first token, and NO_LABEL on all others."""
        if rows.word_labels is None:
            return None
        labels = [self._label_ids[label or ""] for label in rows.word_labels[index] or []]
        words = [-1 if word is None else word for word in encoding.word_ids]
        return [
            labels[word] if word >= 0 and word != previous else NO_LABEL
            for previous, word in zip([-1, *words], words, strict=False)
        ]

    def _ids_of(self, text: str) -> list[int]:
        encoding: Encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return list(encoding.ids)


def _read(tokenizer_uri: str) -> str:
    try:
        return storage.read_bytes(tokenizer_uri).decode()
    except FileNotFoundError as error:
        message = (
            f"{tokenizer_uri}: is not there, on {socket.gethostname()}; --distributed needs an "
            "--output that every machine reaches: a URI, or a folder that they share"
        )
        raise ConfigError(message) from error


def _rejection(reason: str, rows: RawRows, index: int) -> Rejection:
    return Rejection(
        reason=reason, rows=1, uri=rows.uri, unit=rows.unit, number=rows.numbers[index]
    )
