"""Tiny random models of every family, built by the code that builds students."""

from typing import Any

import torch
from raykd.batch import Batch
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.run import TaskName
from raykd.models.build import Vocabulary, build_config, build_model
from raykd.models.families import FAMILIES
from raykd.models.scored import ScoredModel

VOCAB_SIZE = 67
MAX_LENGTH = 24
LABELS = ("a", "b", "c")

FAMILY_TASKS = [(family, task) for family in FAMILIES for task in FAMILIES[family].heads]
FAMILY_IDS = [f"{family}-{task}" for family, task in FAMILY_TASKS]


def vocabulary(task: TaskName) -> Vocabulary:
    """Return what data for the task would say."""
    labels = None if task.endswith("_lm") else LABELS
    return Vocabulary(size=VOCAB_SIZE, pad_id=0, max_length=MAX_LENGTH, labels=labels)


def tiny_model(
    model_type: str, task: TaskName, *, num_layers: int = 2, seed: int = 0, **fields: Any
) -> Any:
    """Return a transformers model of a family with random weights, in evaluation mode."""
    sizes: dict[str, Any] = {"hidden_size": 32, "num_heads": 4, "intermediate_size": 48}
    architecture = ArchitectureConfig(
        model_type=model_type, num_layers=num_layers, **(sizes | fields)
    )
    torch.manual_seed(seed)
    model = build_model(
        build_config(architecture, like=None, vocabulary=vocabulary(task)), task
    ).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # biases and norms start at 0 and 1, alike in all layers
            torch.nn.init.normal_(parameter, mean=float("norm" in name.lower()), std=0.1)
    return model


def scored(model: Any, task: TaskName) -> ScoredModel:
    """Return a model read at scored positions."""
    num_classes = VOCAB_SIZE if task.endswith("_lm") else len(LABELS)
    return ScoredModel(model, task=task, num_classes=num_classes)


def padded_batch(task: TaskName, *, summary: str = "first") -> Batch:
    """Return three rows of different lengths with the positions that a task scores."""
    generator = torch.Generator().manual_seed(1)
    lengths = [11, 7, 9]
    ids_BL = torch.randint(5, VOCAB_SIZE, (3, 11), generator=generator)
    mask_BL = (torch.arange(11) < torch.tensor(lengths)[:, None]).long()
    ids_BL = ids_BL * mask_BL
    if task == "sequence_classification":
        places = [0, 0, 0] if summary == "first" else [length - 1 for length in lengths]
        positions = [11 * row + place for row, place in enumerate(places)]
    else:
        positions = [1, 4, 10, 11, 17, 25, 30]
    return Batch(
        input_ids_BL=ids_BL,
        attention_mask_BL=mask_BL,
        token_type_ids_BL=None,
        positions_P=torch.tensor(positions),
        labels_P=torch.zeros(len(positions), dtype=torch.int64),
        languages_B=torch.zeros(3, dtype=torch.int64),
        row_ids_B=torch.arange(3),
        epochs_B=torch.zeros(3, dtype=torch.int64),
        num_tokens=sum(lengths),
    )
