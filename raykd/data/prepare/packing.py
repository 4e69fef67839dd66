"""Join the documents of one language and cut them into rows of one length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerFast

from raykd.errors import ConfigError

TokenArray = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedLayout:
    """What stands around and between the documents in a packed row."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    separator: int
    max_length: int

    @property
    def body_length(self) -> int:
        """Tokens of documents and separators in a full row."""
        return self.max_length - len(self.prefix) - len(self.suffix)

    def count_rows(self, *, documents: int, tokens: int) -> int:
        """Return the rows that so many documents of so many tokens together fill."""
        return -(-(tokens + max(documents - 1, 0)) // self.body_length)


def packed_layout(tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> PackedLayout:
    """Return ``[CLS] documents [SEP]`` where the tokenizer has both, else plain documents.

    Raises:
        ConfigError: The tokenizer has no token that could stand between documents.
    """
    first, last, end = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.eos_token_id
    if first is not None and last is not None:
        return PackedLayout(prefix=(first,), suffix=(last,), separator=last, max_length=max_length)
    separator = last if end is None else end
    if separator is None:
        message = "--pack: the tokenizer has neither a separator nor an end-of-sequence token"
        raise ConfigError(message)
    return PackedLayout(prefix=(), suffix=(), separator=separator, max_length=max_length)


class Packer:
    """The documents of one language on their way into rows; nothing lost, nothing twice."""

    def __init__(self, layout: PackedLayout) -> None:
        self._layout = layout
        self._rest = np.empty(0, dtype=np.uint32)
        self._is_first = True

    def full_rows(
        self, tokens: TokenArray, lengths: npt.NDArray[np.int64]
    ) -> Iterator[TokenArray]:
        """Add documents and yield the rows that became full.

        Args:
            tokens: The documents, one after the other, without special tokens.
            lengths: Tokens of each document.
        """
        starts = np.cumsum(lengths) - lengths
        # Before every document but the very first of the language.
        separated = np.insert(
            tokens, starts[1:] if self._is_first else starts, self._layout.separator
        )
        self._is_first = self._is_first and not len(lengths)
        stream = np.concatenate([self._rest, separated])
        body = self._layout.body_length
        whole = len(stream) // body * body
        self._rest = stream[whole:]
        for start in range(0, whole, body):
            yield self._framed(stream[start : start + body])

    def last_row(self) -> Iterator[TokenArray]:
        """Yield what is left, unless it is too short to predict one token from another."""
        framed = self._framed(self._rest)
        if len(self._rest) and len(framed) >= 2:  # noqa: PLR2004 - one token and one other
            yield framed

    def _framed(self, body: TokenArray) -> TokenArray:
        layout = self._layout
        parts = [layout.prefix, body, layout.suffix]
        return np.concatenate([np.asarray(part, dtype=np.uint32) for part in parts])
