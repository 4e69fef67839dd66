"""Whether a model that is loaded fits the prepared data, and what of it is taken for granted."""

from collections.abc import Iterator, Mapping
from typing import Any

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.distill.start import StudentStart
from raykd.errors import ModelError
from raykd.models.families import num_positions
from raykd.models.labels import assumed_order, has_classes
from raykd.models.load import load_config, resolve_model
from raykd.tasks.entities import why_no_entities


def check_length(key: str, source: str, loaded: Any, manifest: Manifest) -> None:
    """Check that a model reads rows as long as the data's.

    Raises:
        ModelError: It does not; the message names the key.
    """
    longest = num_positions(loaded)
    if longest is not None and longest < manifest.max_length:
        message = (
            f"{key}: {source} reads at most {longest} tokens, but rows of {manifest.uri} have up "
            f"to {manifest.max_length}; prepare the data with --max-length {longest}"
        )
        raise ModelError(message)


def check_tokenizer(key: str, source: str, manifest: Manifest) -> None:
    """Compare the tokenizer that lies beside a model, if one does, with the data's.

    Raises:
        ModelError: They are not interchangeable; the message names the key.
    """
    where = resolve_model(source)
    if not any(
        storage.exists(storage.join(where, name)) for name in ("tokenizer.json", "vocab.txt")
    ):
        return
    fingerprint = tokenizer_info(load_tokenizer(where)).fingerprint
    if fingerprint != manifest.tokenizer.fingerprint:
        message = (
            f"{key}: the tokenizer of {source} (fingerprint {fingerprint[:12]}) is not that of "
            f"{manifest.uri} ({manifest.tokenizer.fingerprint[:12]}); prepare the data with "
            f"--tokenizer {source}"
        )
        raise ModelError(message)


def remarks(
    config: RunConfig,
    manifest: Manifest,
    *,
    teachers: Mapping[str, Any],
    start: StudentStart | None,
) -> Iterator[str]:
    """Say what is taken for granted of the classes, and what evaluations will lack.

    Args:
        config: The run.
        manifest: Of its data.
        teachers: Their configurations, by name.
        start: Of a student that is grown or shrunk.
    """
    if (labels := manifest.labels_of(config.task)) is None:
        return
    scoring = {f"teachers.{name}": teacher for name, teacher in teachers.items()}
    if start is not None and start.source not in teachers:
        source = load_config(start.source)
        scoring |= {"student.init": source} if has_classes(source, config.task) else {}
    for where, model_config in scoring.items():
        if remark := assumed_order(model_config, labels, where=where):
            yield remark
    if config.task == "token_classification" and (remark := why_no_entities(labels)):
        yield remark
