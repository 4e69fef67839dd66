"""Raw rows to tokenised examples, why some are refused, and what others lack."""

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from tokenizers import Encoding, Tokenizer

from raykd.config.schema.prepare import LabelType
from raykd.data.manifest import NO_LABEL
from raykd.data.prepare.raw_rows import UNDECODABLE, Finding, RawRows, merged
from raykd.data.words import labels_on_tokens, running_text
from raykd.errors import ConfigError
from raykd.storage import uris

_LARGEST = float(np.finfo(np.float32).max)

EXAMPLE_SCHEMA = pa.schema(
    [
        pa.field("split", pa.string()),
        pa.field("language", pa.string()),
        pa.field("input_ids", pa.list_(pa.uint32())),
        # The id of a class, or a number.
        pa.field("label", pa.float64()),
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
    truncation_side: str
    """Where too long a text is cut: right or left."""

    packs: bool
    has_types: bool
    labels: tuple[str, ...] | None
    """Allowed labels, of rows or of words."""

    label_type: LabelType
    validation_fraction: float
    language: str
    """Language of rows without one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """What became of some raw rows."""

    table: pa.Table
    """Columns of EXAMPLE_SCHEMA, in the order of the rows."""

    truncated: int
    """Rows that were cut at max_length."""

    rejections: tuple[Finding, ...]
    """Rows that were refused."""

    remarks: tuple[Finding, ...]
    """What the rows that were not refused lack."""


@dataclass(frozen=True, slots=True)
class _Example:
    rows: RawRows
    index: int
    encoding: Encoding
    word_labels: list[int] | None


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
            self._tokenizer.enable_truncation(recipe.max_length, direction=recipe.truncation_side)
        self._label_ids = {label: index for index, label in enumerate(recipe.labels or ())}

    def encode(self, pieces: Sequence[RawRows]) -> Examples:
        """Return the examples of all rows that are fit, and the findings of all rows."""
        rejected: list[Finding] = []
        fit: list[tuple[RawRows, int]] = []
        for rows in pieces:
            for index in range(len(rows.texts)):
                if (reason := self._fault(rows, index)) is None:
                    fit.append((rows, index))
                else:
                    rejected.append(rows.finding(reason, index))
        encodings = self._encodings(fit)
        kept = []
        special = 0 if self._recipe.packs else self._num_special(fit)
        for (rows, index), encoding in zip(fit, encodings, strict=True):
            if len(encoding.ids) > special:
                labels = self._word_label_ids(rows, index, encoding)
                kept.append(_Example(rows, index, encoding, labels))
            else:
                rejected.append(rows.finding("text without a single token", index))
        return Examples(
            table=self._table(kept),
            truncated=sum(self._is_truncated(one.encoding) for one in kept),
            rejections=merged(rejected),
            remarks=merged(remark for one in kept for remark in self._remarks(one)),
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
        language = None if rows.languages is None else rows.languages[index]
        if any(UNDECODABLE in one for one in (*texts, *rows.classes(index), language) if one):
            return "undecodable bytes"
        return self._label_fault(rows, index) or self._word_label_fault(rows, index)

    def _label_fault(self, rows: RawRows, index: int) -> str | None:
        if rows.labels is None:
            return None
        label = rows.labels[index]
        if label is None:
            return "missing label"
        if self._recipe.label_type == "number":
            return _number_fault(label)
        return None if label in self._label_ids else "label outside the set"

    def _word_label_fault(self, rows: RawRows, index: int) -> str | None:
        if rows.words is None or rows.word_labels is None:
            return None
        words, labels = rows.words[index], rows.word_labels[index]
        if words is None or labels is None:
            return "missing label"
        if len(words) != len(labels):
            return "words and labels of different lengths"
        known = [label for label in labels if label is not None]
        if not known:
            return "missing label"
        is_known = all(label in self._label_ids for label in known)
        return None if is_known else "label outside the set"

    def _remarks(self, example: _Example) -> Iterator[Finding]:
        """Say what a row lacks that is used without it."""
        rows, index = example.rows, example.index
        if index in rows.trimmed:
            yield rows.finding("rows with blanks around a label or language, cut off", index)
        if rows.languages is not None and rows.languages[index] is None:
            what = f"rows without a language, taken for {self._recipe.language}"
            yield rows.finding(what, index)
        if rows.word_labels is not None:
            labels = rows.word_labels[index] or []
            missing = labels.count(None)
            if missing:
                yield rows.finding("words without a label, not scored", index, count=missing)
            scored = sum(label != NO_LABEL for label in example.word_labels or [])
            unread = len(labels) - missing - scored
            if unread and not self._is_truncated(example.encoding):
                what = "words without a token of their own, not scored"
                yield rows.finding(what, index, count=unread)

    def _encodings(self, fit: list[tuple[RawRows, int]]) -> list[Encoding]:
        inputs = [_input(rows, index) for rows, index in fit]
        has_words = bool(fit) and fit[0][0].words is not None
        # The fast way does not say where in the text a token is.
        encode = self._tokenizer.encode_batch if has_words else self._tokenizer.encode_batch_fast
        encodings: list[Encoding] = encode(inputs, add_special_tokens=not self._recipe.packs)
        return encodings

    def _is_truncated(self, encoding: Encoding) -> bool:
        return len(encoding.ids) == self._recipe.max_length and bool(encoding.overflowing)

    def _table(self, kept: list[_Example]) -> pa.Table:
        fraction, has_types = self._recipe.validation_fraction, self._recipe.has_types
        columns = {
            "split": [e.rows.split_of(e.index, validation_fraction=fraction) for e in kept],
            "language": [self._language(e.rows, e.index) for e in kept],
            "input_ids": [e.encoding.ids for e in kept],
            "label": [self._label(e.rows, e.index) for e in kept],
            "word_labels": [e.word_labels for e in kept],
            "token_type_ids": [e.encoding.type_ids if has_types else None for e in kept],
        }
        return pa.table(columns, schema=EXAMPLE_SCHEMA)

    def _language(self, rows: RawRows, index: int) -> str:
        language = None if rows.languages is None else rows.languages[index]
        return language or self._recipe.language

    def _label(self, rows: RawRows, index: int) -> float | None:
        if rows.labels is None:
            return None
        label = rows.labels[index] or ""
        return float(label) if self._recipe.label_type == "number" else self._label_ids[label]

    def _word_label_ids(self, rows: RawRows, index: int, encoding: Encoding) -> list[int] | None:
        if rows.words is None or rows.word_labels is None:
            return None
        words, labels = rows.words[index] or [], rows.word_labels[index] or []
        ids = [NO_LABEL if label is None else self._label_ids[label] for label in labels]
        return labels_on_tokens(words, ids, encoding)


def _number_fault(label: str) -> str | None:
    """Say why a label is no number that float32 holds."""
    try:
        # float() would read 1_000, which may be anything but a thousand.
        number = float(label.replace("_", "?"))
    except ValueError:
        return "label that is no number"
    return None if abs(number) <= _LARGEST else "label that is NaN or infinite in float32"


def _input(rows: RawRows, index: int) -> str | tuple[str | None, str | None] | None:
    if rows.words is not None:
        return running_text(rows.words[index] or [])
    if rows.pairs is not None:
        return rows.texts[index], rows.pairs[index]
    return rows.texts[index]


def _read(tokenizer_uri: str) -> str:
    try:
        return uris.read_bytes(tokenizer_uri).decode()
    except FileNotFoundError as error:
        message = (
            f"{tokenizer_uri}: is not there, on {socket.gethostname()}; --distributed needs an "
            "--output that every machine reaches: a URI, or a folder that they share"
        )
        raise ConfigError(message) from error
