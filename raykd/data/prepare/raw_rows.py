"""Examples as they come from a source, before they are tokenised."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from raykd.config.schema.prepare import TRAIN, VALIDATION


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
    word_labels: list[list[str | None] | None] | None = None
    languages: list[str | None] | None = None
    faults: Mapping[int, str] = field(default_factory=dict)
    """Index of each row that cannot be read, and why; all its entries are None."""

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


def hash_share(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone and is spread evenly."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
