"""From the name of a task to the task."""

from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import TaskName
from raykd.errors import ConfigError
from raykd.tasks.causal_lm import CausalLM
from raykd.tasks.masked_lm import MaskedLM, maskable_vocabulary
from raykd.tasks.sequence_classification import SequenceClassification, Summary
from raykd.tasks.task import Task, TokenizerFacts
from raykd.tasks.token_classification import TokenClassification


def build_task(
    name: TaskName,
    *,
    tokenizer: TokenizerFacts,
    labels: tuple[str, ...] | None,
    masking: MaskingConfig,
    seed: int,
    summary: Summary,
) -> Task:
    """Return the task of a run.

    Args:
        name: Which task.
        tokenizer: Of the prepared data.
        labels: Names of the classes of rows or words, or NUMBER; the two classification tasks
            need them.
        masking: Used by masked_lm only.
        seed: Decides the masks of masked_lm.
        summary: The token that stands for a row, for sequence_classification; a property of
            the model's family.

    Raises:
        ConfigError: The tokenizer or the data lacks what the task needs.
    """
    match name:
        case "masked_lm":
            return _masked_lm(tokenizer, masking, seed)
        case "causal_lm":
            return CausalLM(num_classes=tokenizer.vocab_size, pad_id=tokenizer.pad_id)
        case "sequence_classification":
            return SequenceClassification(
                class_names=_required(labels, name), summary=summary, pad_id=tokenizer.pad_id
            )
        case "token_classification":
            return TokenClassification(
                class_names=_required(labels, name), pad_id=tokenizer.pad_id
            )


def _masked_lm(tokenizer: TokenizerFacts, masking: MaskingConfig, seed: int) -> MaskedLM:
    if tokenizer.mask_id is None:
        message = (
            "task=masked_lm: the data's tokenizer has no mask token; prepare the data with one "
            "that has, or set task=causal_lm"
        )
        raise ConfigError(message)
    vocabulary = maskable_vocabulary(
        vocab_size=tokenizer.vocab_size,
        mask_id=tokenizer.mask_id,
        special_ids=(tokenizer.pad_id, *tokenizer.special_ids),
    )
    return MaskedLM(vocabulary=vocabulary, masking=masking, seed=seed, pad_id=tokenizer.pad_id)


def _required(labels: tuple[str, ...] | None, name: TaskName) -> tuple[str, ...]:
    if labels is None or (labels == NUMBER and name == "token_classification"):
        message = (
            f"task={name}: the data has no labels for it; prepare the data with a label column"
        )
        raise ConfigError(message)
    return labels
