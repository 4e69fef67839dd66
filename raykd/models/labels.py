"""The classes of a model beside those of the data: the same names, perhaps in another order."""

from collections.abc import Mapping

from transformers import PreTrainedConfig

from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import TaskName
from raykd.errors import MissingHeadError

_TASKS: Mapping[str, TaskName] = {
    "ForMaskedLM": "masked_lm",
    "ForCausalLM": "causal_lm",
    "LMHeadModel": "causal_lm",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
}
"""How transformers ends the names of models with a head for each task."""

_SHOWN = 4
"""Classes of which a message says what they are taken for."""


def task_of_head(model_config: PreTrainedConfig) -> TaskName | None:
    """Return the task that a saved model has a head for; None where it has none, or another."""
    for name in model_config.architectures or ():
        for ending, task in _TASKS.items():
            if name.endswith(ending):
                return task
    return None


def has_classes(model_config: PreTrainedConfig, task: TaskName) -> bool:
    """Tell whether a saved model has a head that scores classes for a task.

    A pre-trained encoder has none, whatever its configuration counts.
    """
    return task.endswith("_classification") and task_of_head(model_config) == task


def label_list(model_config: PreTrainedConfig) -> tuple[str, ...]:
    """Return the names of a model's classes, in the model's order; NUMBER where it predicts one.

    One score is a number where nothing else is said, as transformers takes it.
    """
    if model_config.num_labels == 1 and model_config.problem_type in (None, "regression"):
        return NUMBER
    return tuple(str(model_config.id2label[index]) for index in range(model_config.num_labels))


def shown_labels(labels: tuple[str, ...] | None) -> str:
    """Return the labels of a model or of data, for a message."""
    return "a number for a label" if labels == NUMBER else f"the classes {list(labels or ())}"


def is_unnamed(names: tuple[str, ...]) -> bool:
    """Tell whether classes are called as transformers calls those that nobody named."""
    return names == tuple(f"LABEL_{index}" for index in range(len(names)))


def class_order(
    model_config: PreTrainedConfig, labels: tuple[str, ...], *, where: str
) -> tuple[int, ...] | None:
    """Return the model's class of each class of the data; None where the orders are the same.

    A model without names of its own, LABEL_0 and so on, is taken to be in the data's order, as
    ``assumed_order`` says.

    Args:
        model_config: Of a classifier of transformers.
        labels: Names of the classes of the data, in the data's order.
        where: The model or the key that asks, for the message.

    Raises:
        MissingHeadError: The model's classes are not the data's; the message shows both lists.
    """
    names = label_list(model_config)
    if names == labels or (is_unnamed(names) and len(names) == len(labels)):
        return None
    if sorted(names) != sorted(labels) or len(set(names)) < len(names):
        message = (
            f"{where}: scores {shown_labels(names)}, but the data has {shown_labels(labels)}; "
            "use a model that was trained on these labels, in any order"
        )
        raise MissingHeadError(message)
    return tuple(names.index(label) for label in labels)


def assumed_order(
    model_config: PreTrainedConfig, labels: tuple[str, ...], *, where: str
) -> str | None:
    """Say that a model's classes have no names, and for which classes of the data they are taken.

    Args:
        model_config: Of a classifier of transformers.
        labels: Names of the classes of the data, in the data's order.
        where: The model or its key, for the message.

    Returns:
        One line; None where nothing is assumed, for the names are the data's or others.
    """
    names = label_list(model_config)
    if names == labels or not is_unnamed(names) or len(names) != len(labels):
        return None
    pairs = [f"{name} is {label}" for name, label in zip(names, labels, strict=True)]
    shown = ", ".join(pairs[:_SHOWN]) + (", ..." if len(pairs) > _SHOWN else "")
    return (
        f"{where}: its classes have no names, and are taken to be in this order: {shown}; if they "
        "are not, name them in id2label of its config.json"
    )
