"""The sizes of the models of a run, for its record in the ledger."""

import json
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from raykd.config.schema.run import TaskName
from raykd.models.build import count_parameters
from raykd.models.files import config_with_languages, languages_of
from raykd.models.parts import num_layers
from raykd.planning.run_plan import Plan
from raykd.sweep.model_size import ModelSize
from raykd.sweep.plan.placeholder_models import as_trained

_NOT_OF_SHAPE = (
    *("_name_or_path", "transformers_version", "dtype", "architectures", "auto_map"),
    *("id2label", "label2id", "problem_type"),
)
"""Fields that say nothing of what a model computes; classes are counted instead of named."""


def model_sizes(plan: Plan) -> Mapping[str, ModelSize]:
    """Return the sizes of ``student``, as a run exports it, and of its ``teachers.NAME``."""
    if plan.setup is None or plan.student is None:
        return {}
    configs = {"student": as_trained(plan.setup, plan.student.config)}
    configs |= {f"teachers.{name}": teacher.config for name, teacher in plan.teachers.items()}
    return {key: model_size(config, plan.setup.config.task) for key, config in configs.items()}


def model_size(config: PreTrainedConfig, task: TaskName) -> ModelSize:
    """Return the size of a model.

    Args:
        config: Its transformers configuration.
        task: That it has a head for, or one for every language that the configuration names.
    """
    counts = count_parameters(config, task)
    return ModelSize(
        task=task,
        model_type=config.model_type,
        num_layers=num_layers(config),
        hidden_size=int(config.hidden_size),
        embeddings=counts.embeddings,
        layers=counts.layers,
        head=counts.head,
        num_heads=len(languages_of(config) or ("all",)),
        fields=_fields(config, task),
    )


def _fields(config: PreTrainedConfig, task: TaskName) -> dict[str, Any]:
    """Return what differs from the family's defaults, as JSON values."""
    written = json.loads(config_with_languages(config, None).to_json_string(use_diff=True))
    fields = {name: value for name, value in written.items() if name not in _NOT_OF_SHAPE}
    return fields if task.endswith("_lm") else {**fields, "num_labels": config.num_labels}
