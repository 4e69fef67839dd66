"""How much memory a worker needs, estimated from configurations."""

from typing import TYPE_CHECKING

from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest

if TYPE_CHECKING:
    from raykd.train.plan import ModelPlan

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_STATE_BYTES = 16
"""Of each trained parameter: weight, gradient and the two moments of AdamW, all float32."""

_PROCESS_BYTES = 700_000_000
"""A worker with PyTorch, Ray and transformers imported, before any model (measured on Linux)."""


def memory_bytes(
    config: RunConfig,
    manifest: Manifest,
    *,
    student: "ModelPlan",
    teachers: dict[str, "ModelPlan"],
) -> int:
    """Estimate the peak memory of a worker, in bytes.

    Parameters and their state are exact. Activations follow Korthikanti et al. (2022), equation
    2: each layer keeps 34 L B D + 5 H L^2 B bytes at 16 bits. Scores of the positions are counted
    three times (scores, their softmax, their gradient), the teacher's once more.
    """
    rows, tokens = config.train.micro_batch_size, manifest.max_length
    model = student.config
    element_bytes = _BYTES[config.train.precision]
    width = int(34 * model.hidden_size + 5 * model.num_attention_heads * tokens)
    activations = int(model.num_hidden_layers) * rows * tokens * width * element_bytes // 2
    scores = 4 * _scored_positions(config, rows, tokens) * _num_classes(config, manifest)
    frozen = sum(
        plan.parameters.total * _BYTES[config.teachers[name].dtype]
        for name, plan in teachers.items()
    )
    return (
        _PROCESS_BYTES
        + student.parameters.total * _STATE_BYTES
        + frozen
        + activations
        + scores * (3 + len(teachers))
    )


def _scored_positions(config: RunConfig, rows: int, tokens: int) -> int:
    if config.task == "masked_lm":
        return round(rows * tokens * config.data.masking.fraction)
    return rows if config.task == "sequence_classification" else rows * tokens


def _num_classes(config: RunConfig, manifest: Manifest) -> int:
    labels = manifest.labels_of(config.task)
    return manifest.tokenizer.vocab_size if labels is None else len(labels)
