"""How large data and models are, and what they take, from manifests and configurations alone."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from raykd.cached_teachers.writer import BATCHES_AT_ONCE
from raykd.config.frozen import NOTHING, FrozenParts
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import RECORD_BATCH_BYTES
from raykd.data.selection import ALL_LANGUAGES, mixing_weights
from raykd.distill.assemble import running_teachers
from raykd.distill.setup import RunSetup
from raykd.losses.weighted_sums import chunk_positions
from raykd.models.parts import ParameterCount, num_layers

_COPIES_OF_SCORES = 3
"""Copies of a chunk's scores, at most, beside those of each teacher, while its losses and their
gradient are made."""

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

_STATE_BYTES = 12
"""Bytes of each trained parameter beside its weight: gradient and the two moments of AdamW, all
float32."""

_GATHERED_BYTES = 8
"""Bytes of each parameter of a sharded student while it is gathered: weight and gradient, both
float32."""

_MOMENT_BYTES = 8
"""Bytes of each trained parameter in a checkpoint beside its weight: moments, float32."""

_STORED_TOKEN_BYTES = 4
"""At most: the vocabulary's unsigned type is one of 16 or 32 bits."""

_PROCESS_BYTES = 450_000_000
"""PyTorch, Ray and transformers imported, before any model: 410 MB resident on Linux."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlan:
    """What a run reads."""

    train_rows: int
    train_tokens: int
    scored_rows: dict[str, int]
    """Rows of each split that is scored, by the names of their keys."""

    unseen: tuple[str, ...]
    """Languages to evaluate on that are not trained on."""

    shares: dict[str, float]
    """Share of each language in the rows drawn; empty where languages are not mixed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """The size of a model, from its configuration."""

    config: PreTrainedConfig
    parameters: ParameterCount
    frozen: FrozenParts = NOTHING
    """Parts of a student that are not trained."""

    num_frozen: int = 0
    """Parameters in them."""

    @property
    def num_trained(self) -> int:
        """Return the number of parameters that a run of the student changes."""
        return self.parameters.total - self.num_frozen

    def __str__(self) -> str:
        """Describe the model in one line."""
        counts = self.parameters
        trained = f"; {self.num_trained:,} trained, {self.num_frozen:,} frozen"
        return (
            f"{self.config.model_type}, {num_layers(self.config)} layers x "
            f"{self.config.hidden_size}: {counts.total:,} parameters ({counts.embeddings:,} "
            f"embeddings, {counts.layers:,} encoder, {counts.head:,} head"
            f"{trained if self.num_frozen else ''})"
        )


def planned_data(setup: RunSetup) -> DataPlan:
    """Describe what a run reads."""
    data = setup.config.data
    train = setup.shards(data.train_split)
    shares = mixing_weights(setup.manifest, data)
    return DataPlan(
        train_rows=sum(shard.rows for shard in train),
        train_tokens=sum(shard.tokens for shard in train),
        scored_rows={
            key: sum(shard.rows for shard in setup.evaluation_shards(split))
            for key, split in data.scored_splits.items()
        },
        unseen=setup.unseen_languages,
        shares={} if ALL_LANGUAGES in shares else shares,
    )


def activation_bytes(model: PreTrainedConfig, *, rows: int, tokens: int, dtype: str) -> int:
    """Estimate what the layers of a model keep for the backward pass.

    Korthikanti et al. (2022), equation 2: each layer keeps 34 L B D + 5 H L^2 B bytes at 16 bits.

    Args:
        model: Its transformers configuration.
        rows: Examples in the micro-batch.
        tokens: In each of them.
        dtype: Of the forward pass.
    """
    width = int(34 * model.hidden_size + 5 * model.num_attention_heads * tokens)
    return int(num_layers(model)) * rows * tokens * width * _BYTES[dtype] // 2


def frozen_bytes(plan: ModelPlan, *, rows: int, tokens: int, dtype: str) -> int:
    """Estimate the memory of a model that is never trained: its weights, and one layer at work."""
    at_work = _layer_bytes(plan.config, rows=rows, tokens=tokens, dtype=dtype)
    return plan.parameters.total * _BYTES[dtype] + at_work


def trained_bytes(plan: ModelPlan, *, rows: int, tokens: int, dtype: str) -> int:
    """Estimate the memory of a model in training: its state in float32, and what layers keep."""
    return _state_bytes(plan) + _kept_bytes(plan, rows=rows, tokens=tokens, dtype=dtype)


def memory_bytes(setup: RunSetup, *, student: ModelPlan, teachers: dict[str, ModelPlan]) -> int:
    """Estimate the peak memory of a worker, in bytes.

    Parameters and their state are exact, of a sharded student too.
    """
    config = setup.config
    rows, tokens = config.train.micro_batch_size, setup.manifest.max_length
    training = (
        shared_bytes(config, teachers)
        + _student_bytes(config, student, rows=rows, tokens=tokens)
        + _checkpoint_bytes(config, student)
        + _overlapped_bytes(config, teachers, rows=rows, tokens=tokens)
        + _scores_bytes(setup)
        + _reading_bytes(setup)
    )
    # Before it trains it may have to write what the teachers say, one after the other.
    asking = (
        frozen_bytes(
            teachers[name], rows=rows * BATCHES_AT_ONCE, tokens=tokens, dtype=section.dtype
        )
        for name, section in config.teachers.items()
        if section.cache is not None
    )
    return max(training, _PROCESS_BYTES + max(asking, default=0))


def shared_bytes(config: RunConfig, teachers: dict[str, ModelPlan]) -> int:
    """Return what a process takes before any student: its imports, and the teachers' weights."""
    cached = [name for name, teacher in config.teachers.items() if teacher.cache is not None]
    # Also a teacher that gives the student its first weights only: it stays in memory.
    running = running_teachers(config, cached=cached, begins=True)
    return _PROCESS_BYTES + sum(
        _frozen_parameters(plan, is_running=name in running) * _BYTES[config.teachers[name].dtype]
        for name, plan in teachers.items()
    )


def checkpoint_bytes(student: ModelPlan) -> int:
    """Return what the tensors of a checkpoint take in storage."""
    weights = student.parameters.total * _BYTES["float32"]
    return weights + student.num_trained * _MOMENT_BYTES


def _state_bytes(plan: ModelPlan) -> int:
    return plan.parameters.total * _BYTES["float32"] + plan.num_trained * _STATE_BYTES


def _kept_bytes(plan: ModelPlan, *, rows: int, tokens: int, dtype: str) -> int:
    """Return what the layers that a gradient reaches keep; where it reaches none, one at work."""
    layers = num_layers(plan.config)
    activations = activation_bytes(plan.config, rows=rows, tokens=tokens, dtype=dtype)
    # Every layer of DeBERTa reads a table that is trained with the encoder.
    shares_table = bool(getattr(plan.config, "relative_attention", False))
    untouched = plan.frozen.num_untouched(layers, shares_table=shares_table)
    return activations * max(layers - untouched, 1) // layers


def _student_bytes(config: RunConfig, plan: ModelPlan, *, rows: int, tokens: int) -> int:
    """Return what the student takes; sharded, a shard and what is gathered at a time."""
    dtype, workers = config.train.precision, config.cluster.num_workers
    if not config.cluster.shard_student or workers < 2:  # noqa: PLR2004  one has no one to share with
        return trained_bytes(plan, rows=rows, tokens=tokens, dtype=dtype)
    counts = plan.parameters
    # While one layer is computed, the next one's weights arrive.
    gathered = counts.embeddings + counts.head + 2 * counts.layers // num_layers(plan.config)
    kept = _kept_bytes(plan, rows=rows, tokens=tokens, dtype=dtype)
    at_work = -(-_state_bytes(plan) // workers) + gathered * _GATHERED_BYTES + kept
    # Before it is sharded, every worker builds the full student.
    return max(at_work, counts.total * _BYTES["float32"])


def _checkpoint_bytes(config: RunConfig, plan: ModelPlan) -> int:
    """Return what the first worker's share of a checkpoint takes while it is written.

    It lies in host memory, of which a worker with a GPU is not asked.
    """
    if config.cluster.gpus_per_worker > 0:
        return 0
    share = -(-checkpoint_bytes(plan) // max(config.cluster.num_workers, 1))
    # The exported student is gathered in full, without its moments.
    return max(share, plan.parameters.total * _BYTES["float32"])


def _overlapped_bytes(
    config: RunConfig, teachers: dict[str, ModelPlan], *, rows: int, tokens: int
) -> int:
    """Return what a teacher at work takes beside the student: of the largest, one layer."""
    if not config.cluster.overlap_teacher:
        return 0
    cached = [name for name, teacher in config.teachers.items() if teacher.cache is not None]
    at_work = (
        _layer_bytes(
            teachers[name].config, rows=rows, tokens=tokens, dtype=config.teachers[name].dtype
        )
        for name in running_teachers(config, cached=cached, begins=False)
    )
    return max(at_work, default=0)


def _layer_bytes(model: PreTrainedConfig, *, rows: int, tokens: int, dtype: str) -> int:
    """Estimate what one layer keeps, which is all that a pass without gradient does."""
    # The outputs of a layer are freed when the next one has read them.
    return activation_bytes(model, rows=rows, tokens=tokens, dtype=dtype) // num_layers(model)


def _frozen_parameters(plan: ModelPlan, *, is_running: bool) -> int:
    """Return the parameters of a teacher in memory: of one that is read its head, at most."""
    counts = plan.parameters
    return counts.total if is_running else counts.head + counts.embeddings


def _reading_bytes(setup: RunSetup) -> int:
    """Bound what the windows of a worker's lanes hold, each with its next one read ahead."""
    config = setup.config
    shards = setup.shards(config.data.train_split)
    streams = len({shard.language for shard in shards}) if config.data.mixing else 1
    lanes = -(-config.data.num_lanes // max(config.cluster.num_workers, 1))
    windows = 2 * streams * lanes * config.data.shuffle_window * RECORD_BATCH_BYTES
    return min(windows, 2 * _STORED_TOKEN_BYTES * sum(shard.tokens for shard in shards))


def _scores_bytes(setup: RunSetup) -> int:
    """Bound what the losses hold: of a vocabulary, no more positions at a time than a chunk."""
    config, classes = setup.config, setup.num_classes
    positions = _scored_positions(config, config.train.micro_batch_size, setup.manifest.max_length)
    if config.task.endswith("_lm"):
        dtype = getattr(torch, config.train.precision)
        on_gpu = config.cluster.gpus_per_worker > 0
        positions = min(positions, chunk_positions(classes, dtype=dtype, on_gpu=on_gpu))
    # float32, which teachers may score in whatever the student computes in.
    return 4 * positions * classes * (_COPIES_OF_SCORES + len(config.teachers))


def _scored_positions(config: RunConfig, rows: int, tokens: int) -> int:
    if config.task == "masked_lm":
        return round(rows * tokens * config.data.masking.fraction)
    return rows if config.task == "sequence_classification" else rows * tokens
