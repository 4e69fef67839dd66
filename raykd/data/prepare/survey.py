"""One pass over the training rows for what must be known before any is tokenised."""

import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from raykd.config.schema.prepare import NUMBER, TRAIN, PrepareOptions
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.data.prepare.raw_rows import UNDECODABLE, RawRows
from raykd.data.prepare.tokenizer_training import evenly_sampled, train_tokenizer
from raykd.data.tokenizers import load_tokenizer, save_tokenizer
from raykd.errors import ConfigError, DataError
from raykd.storage import uris

_SURVEY = "survey.json"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def survey(
    rows: Iterable[RawRows], options: PrepareOptions
) -> tuple[PreTrainedTokenizerFast, tuple[str, ...] | None]:
    """Return the tokenizer and the labels of a data set; NUMBER where the label is a number.

    Both are as the options name them, or learnt from the training split.

    Args:
        rows: All rows; read only if something is to be learnt.
        options: What is named.

    Raises:
        ConfigError: The tokenizer lacks the mask token that the task needs.
        DataError: There is nothing to learn from, or the tokenizer cannot be loaded.
    """
    source = options.tokenizer.source
    tokenizer = None if source is None else load_tokenizer(source)
    if tokenizer is not None:
        # What is longer is cut by whoever loads the tokenizer beside a model, as it is here.
        tokenizer.model_max_length = options.max_length
    if tokenizer is not None and options.task == "masked_lm" and tokenizer.mask_token_id is None:
        message = f"--task masked_lm: the tokenizer {source} has no mask token; choose another"
        raise ConfigError(message)
    has_labels = bool(options.columns.label or options.columns.word_labels)
    given = NUMBER if options.label_type == "number" else options.labels
    learns_labels = has_labels and given is None
    if tokenizer is not None and not learns_labels:
        return tokenizer, given
    labels = _Labels()
    faults: list[str] = []
    texts = _texts_and_labels(_noting_fault(rows, faults), labels, options=options)
    if tokenizer is None:
        if not (sample := evenly_sampled(texts)):
            message = (
                "no rows are left to train a tokenizer on: the training split has no text, or "
                f"none that is UTF-8{'; '.join(['', *faults])}; give other sources"
            )
            raise DataError(message)
        tokenizer = train_tokenizer(sample, options.tokenizer, max_length=options.max_length)
    else:
        # Labels are noted as the texts go by.
        for _ in texts:
            pass
    return tokenizer, labels.in_order() if learns_labels else given


def kept_survey(
    rows: Iterable[RawRows], options: PrepareOptions, *, work_uri: str
) -> tuple[PreTrainedTokenizerFast, tuple[str, ...] | None]:
    """Return tokenizer and labels, and keep both in the work directory for the next start."""
    saved = uris.join(work_uri, _SURVEY)
    tokenizer_uri = uris.join(work_uri, TOKENIZER_DIRECTORY)
    if not uris.exists(saved):
        tokenizer, labels = survey(rows, options)
        _save(tokenizer, tokenizer_uri)
        # Last: where it is, the tokenizer is complete.
        uris.write_bytes(saved, json.dumps(labels).encode())
    labels = json.loads(uris.read_bytes(saved))
    return load_tokenizer(tokenizer_uri), None if labels is None else tuple(labels)


def _save(tokenizer: PreTrainedTokenizerFast, uri: str) -> None:
    with tempfile.TemporaryDirectory(prefix="raykd-tokenizer-") as directory:
        save_tokenizer(tokenizer, Path(directory))
        files = [path for path in Path(directory).rglob("*") if path.is_file()]
        names = [path.relative_to(directory).as_posix() for path in files]
        uris.write_many(
            {
                uris.join(uri, name): path.read_bytes()
                for name, path in zip(names, files, strict=True)
            }
        )


def _noting_fault(rows: Iterable[RawRows], faults: list[str]) -> Iterator[RawRows]:
    """Yield rows on, and say of the first that cannot be read why."""
    for some in rows:
        if some.faults and not faults:
            index, reason = next(iter(some.faults.items()))
            faults.append(f"{some.uri}: {some.unit} {some.numbers[index]}: {reason}")
        yield some


@dataclass(frozen=True, slots=True)
class _Labels:
    """The classes of the training split."""

    declared: dict[str, None] = field(default_factory=dict)
    """Those that a source lists, in the order of its ids, whether they occur or not."""

    seen: set[str] = field(default_factory=set)
    """Those that occur in rows."""

    def in_order(self) -> tuple[str, ...]:
        """Return the declared ones, and after them the others sorted; numbers by their value."""
        others = self.seen - self.declared.keys()
        if all(_NUMBER.fullmatch(label) for label in others):
            return (*self.declared, *sorted(others, key=lambda label: (float(label), label)))
        return (*self.declared, *sorted(others))


def _texts_and_labels(
    rows: Iterable[RawRows], labels: _Labels, *, options: PrepareOptions
) -> Iterator[str]:
    """Yield the texts of the training split, and note its labels on the way."""
    fraction = options.sources.validation_fraction
    for some in rows:
        if some.split == TRAIN:
            labels.declared.update(dict.fromkeys(some.class_names or ()))
        for index, text in enumerate(some.texts):
            if some.split_of(index, validation_fraction=fraction) != TRAIN:
                continue
            labels.seen.update(c for c in some.classes(index) if UNDECODABLE not in c)
            for one in (text, None if some.pairs is None else some.pairs[index]):
                if one is not None and one.strip() and UNDECODABLE not in one:
                    yield one
