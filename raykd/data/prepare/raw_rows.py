"""Examples as they come from a source, before they are tokenised."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from raykd.config.schema.prepare import TRAIN, VALIDATION

UNDECODABLE = "\ufffd"
"""What stands for bytes that are no UTF-8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An observation on rows or words: of how many it is true, and where first."""

    what: str
    count: int
    uri: str
    unit: str
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRows:
    """Consecutive rows of one source; every column has one entry a row, None where missing."""

    split: str
    uri: str
    unit: str
    """What the numbers count: ``line``, ``row``, or what else a corpus consists of."""

    numbers: Sequence[int]
    """Where each row is in its source, counted from 1."""

    texts: list[str | None]
    """The text, or the words joined by spaces."""

    pairs: list[str | None] | None = None
    words: list[list[str] | None] | None = None
    labels: list[str | None] | None = None
    """Classes, or numbers as they are written."""

    word_labels: list[list[str | None] | None] | None = None
    languages: list[str | None] | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    """Index of each row that cannot be read, and why; all its entries are None."""

    class_names: tuple[str, ...] | None = None
    """All classes of labels or word labels, in the order of their ids, where the source says."""

    trimmed: frozenset[int] = frozenset()
    """Indices of rows whose label or language had blanks around it."""

    @property
    def size(self) -> int:
        """Characters of text."""
        texts = [*self.texts, *(self.pairs or [])]
        return sum(len(text) for text in texts if text is not None)

    def split_of(self, index: int, *, validation_fraction: float) -> str:
        """Return the split of a row: equal texts always fall into the same one."""
        text = self.texts[index]
        if self.split != TRAIN or not validation_fraction or text is None:
            return self.split
        return VALIDATION if hash_share(text) < validation_fraction else TRAIN

    def classes(self, index: int) -> Iterator[str]:
        """Yield the label of a row, or those of its words, as far as there are any."""
        label = None if self.labels is None else self.labels[index]
        of_words = None if self.word_labels is None else self.word_labels[index]
        yield from (one for one in (label, *(of_words or ())) if one is not None)

    def finding(self, what: str, index: int, *, count: int = 1) -> Finding:
        """Return an observation on a row."""
        number = self.numbers[index]
        return Finding(what=what, count=count, uri=self.uri, unit=self.unit, number=number)


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Add up findings of one kind; the place is that of the first."""
    by_kind: dict[str, Finding] = {}
    for one in findings:
        first = by_kind.get(one.what)
        by_kind[one.what] = one if first is None else replace(first, count=first.count + one.count)
    return tuple(by_kind.values())


def hash_share(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone and is spread evenly."""
    # surrogatepass: half a surrogate pair is a text too, without UTF-8.
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
