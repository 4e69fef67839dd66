"""The words of a row as running text, and their labels on its tokens.

The words are joined by blanks and tokenised together, so that a tokenizer reads each of them as
it reads it inside a text: with whatever mark it sets before words, once and where it sets it.
"""

from collections.abc import Iterator, Sequence

from tokenizers import Encoding

from raykd.data.manifest import NO_LABEL

_BLANK_MARKS = "\u2581\u0120"
"""How SentencePiece and byte-level tokenizers write the blank before a word."""


def running_text(words: Sequence[str]) -> str:
    """Return the text that words stand for; blank ones are left out."""
    return " ".join(word.strip() for word in words if word.strip())


def labels_on_tokens(words: Sequence[str], labels: Sequence[int], encoding: Encoding) -> list[int]:
    """Put the label of each word on its first token, and NO_LABEL on all others.

    A mark for a blank that stands by itself is no token of the word after it. A word's label is
    dropped where no token is the word's own: it is blank, the tokenizer leaves its characters out
    or joins it with the word before, or the row was cut before it.

    Args:
        words: Of one row.
        labels: Of the words.
        encoding: Of their running text.
    """
    token_labels = [NO_LABEL] * len(encoding)
    spans = _spans(words, labels)
    label, start, stop = next(spans, _NOWHERE)
    for index, (token, (begin, end)) in enumerate(
        zip(encoding.tokens, encoding.offsets, strict=True)
    ):
        while stop <= begin:
            label, start, stop = next(spans, _NOWHERE)
        # What a tokenizer adds itself has no place in the text: its begin is its end.
        if begin < end and start < end and token.strip(_BLANK_MARKS):
            token_labels[index] = label
            label, start, stop = next(spans, _NOWHERE)
    return token_labels


_END_OF_TEXT = 1 << 62
_NOWHERE = (NO_LABEL, _END_OF_TEXT, _END_OF_TEXT)


def _spans(words: Sequence[str], labels: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the label of each word that is not blank, and where in the running text it is."""
    start = 0
    for word, label in zip(words, labels, strict=True):
        if length := len(word.strip()):
            yield label, start, start + length
            start += length + 1
