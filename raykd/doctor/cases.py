"""Tiny runs to check the objective on: rows of every length, a student and a teacher.

Built from configurations alone, by the code that builds students; nothing is downloaded.
"""

import copy
import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch

from raykd.batch import Batch, Rows
from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)
from raykd.config.schema.losses import LossesConfig
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.run import TaskName
from raykd.config.schema.train import OptimizerConfig
from raykd.data.manifest import TokenizerInfo
from raykd.data.selection import DataState
from raykd.distill.loop import LoopOptions, StepBatches, TrainState, training_steps
from raykd.distill.models import shape_of
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.doctor.subject import Setting, Subject, deviation
from raykd.models.build import Vocabulary, build_config, build_model
from raykd.models.families import family_of
from raykd.models.scored import ScoredModel
from raykd.tasks.build import build_task
from raykd.tasks.task import Task
from raykd.teachers.build import build_ensemble

TASKS: tuple[TaskName, ...] = (
    "masked_lm",
    "causal_lm",
    "sequence_classification",
    "token_classification",
)
LENGTHS = (3, 14, 1, 8)
"""Tokens of each row; the one of a single token has no next one to predict."""
TEACHER = "teacher"

LAYER_LOSSES = LossesConfig(
    hidden_states=HiddenStatesConfig(),
    attention_scores=AttentionScoresConfig(),
    attention_relations=AttentionRelationsConfig(),
)

_VOCAB_SIZE = 61
_PAD_ID, _MASK_ID, _FIRST_WORD = 0, 1, 4
_LABELS = ("a", "b", "c")
_LANGUAGES = ("xx",)
_MASKING = MaskingConfig(fraction=0.4, mask_fraction=1.0, random_fraction=0.0)
"""Every scored token is hidden, so that the rows show which ones are scored."""

# Nothing moves and nothing is clipped: the gradient is seen as the backward pass left it.
_STILL = OptimizerConfig(learning_rate=0.0, max_grad_norm=float("inf"))
_WEIGHT_SCALE = 5
"""Random weights begin so small that all predictions are alike; times this they are not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A tiny run."""

    task: Task
    rows: Rows
    student: ScoredModel
    teacher: ScoredModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one optimizer step of the real loop computes."""

    loss: torch.Tensor
    """The objective, a scalar."""

    gradient: torch.Tensor
    """Gradients of every trained parameter, one after the other."""

    def apart_from(self, expected: "Outcome") -> float:
        """Return the larger of the deviations of loss and gradient."""
        return max(
            deviation(self.loss, expected.loss), deviation(self.gradient, expected.gradient)
        )


def build_case(task: TaskName, setting: Setting, *, dropout: float = 0.0) -> Case:
    """Return a run with a student of two layers and a wider teacher of three."""
    model_type = "llama" if task == "causal_lm" else "bert"
    student = _model(task, model_type, num_layers=2, hidden_size=16, dropout=0.0)
    teacher = _model(task, model_type, num_layers=3, hidden_size=24, dropout=dropout)
    return Case(
        task=build_task(
            task,
            tokenizer=TokenizerInfo(
                fingerprint="",
                vocab_size=_VOCAB_SIZE,
                pad_id=_PAD_ID,
                mask_id=_MASK_ID,
                special_ids=tuple(range(_FIRST_WORD)),
            ),
            labels=None if task.endswith("_lm") else _LABELS,
            masking=_MASKING,
            seed=0,
            summary=family_of(model_type, where="doctor").summary,
        ),
        rows=tiny_rows(),
        # Copies: to build a model takes longer than most checks.
        student=copy.deepcopy(student).to(setting.device),
        teacher=copy.deepcopy(teacher).to(setting.device, setting.dtype),
    )


def tiny_rows() -> Rows:
    """Return random rows, with labels for every task."""
    # Ids of words only: special tokens are never hidden, so rows of them would score nothing.
    generator = np.random.default_rng(0)
    num_tokens, num_rows = sum(LENGTHS), len(LENGTHS)
    token_labels_T = generator.integers(len(_LABELS), size=num_tokens)
    token_labels_T[generator.random(num_tokens) < 0.5] = -100  # noqa: PLR2004  half of them
    return Rows(
        token_ids_T=generator.integers(_FIRST_WORD, _VOCAB_SIZE, size=num_tokens),
        lengths_B=np.array(LENGTHS),
        row_ids_B=np.arange(num_rows),
        epochs_B=np.zeros(num_rows, dtype=np.int64),
        languages_B=np.zeros(num_rows, dtype=np.int64),
        labels_B=generator.integers(len(_LABELS), size=num_rows),
        token_labels_T=token_labels_T,
    )


def build_step(
    subject: Subject, case: Case, setting: Setting, losses: LossesConfig
) -> DistillationStep:
    """Return the objective of a case, as a run assembles it."""
    ensemble = build_ensemble(
        None,
        {TEACHER: subject.make_teacher(case.teacher)},
        served={TEACHER: None},
        languages=_LANGUAGES,
        trained=_LANGUAGES,
    )
    torch.manual_seed(0)  # for the projections
    step = subject.make_step(
        case.student,
        ensemble=ensemble if losses.teacher_terms else None,
        terms=subject.build_terms(losses),
        layer_terms=subject.build_layer_terms(
            losses,
            student=shape_of(case.student.model.config),
            teachers={TEACHER: shape_of(case.teacher.model.config)},
            followed={},
        ),
        autocast_dtype=setting.autocast_dtype,
    )
    return step.to(setting.device).train()


def one_step(step: DistillationStep, batches: tuple[Batch, ...], setting: Setting) -> Outcome:
    """Run the real loop for one optimizer step that changes no weights."""
    kept: list[torch.Tensor] = []
    optimizer = torch.optim.SGD(step.parameters())
    # Read as the optimizer reads it: right after its step the loop sets gradients to None.
    optimizer.register_step_pre_hook(lambda *_: kept.append(gradient_of(step.parameters())))
    data = DataState(step=0, rows={})
    on_device = tuple(batch.to(setting.device) for batch in batches)
    finished = next(
        training_steps(
            TrainState(
                step=0,
                tokens=0,
                data=data,
                optimizer=optimizer,
                student=step.student,
                projections=step.projections,
            ),
            step,
            iter([StepBatches(micro_batches=on_device, data=data)]),
            options=LoopOptions(num_steps=1, seed=0, optimizer=_STILL),
            world=World(device=setting.device),
        )
    )
    return Outcome(loss=torch.tensor(finished.loss), gradient=kept[0])


def gradient_of(parameters: Iterable[torch.nn.Parameter]) -> torch.Tensor:
    """Return the gradients of parameters one after the other, zero where there is none."""
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    )


def lengthened(batch: Batch, extra: int, *, fill: int) -> Batch:
    """Return a batch with columns of padding added, and this id in all padded places."""
    length = batch.input_ids_BL.shape[1]
    is_token_BL = torch.nn.functional.pad(batch.is_token_BL, (0, extra))
    ids_BL = torch.nn.functional.pad(batch.input_ids_BL, (0, extra))
    return replace(
        batch,
        input_ids_BL=ids_BL.where(is_token_BL, torch.tensor(fill)),
        attention_mask_BL=is_token_BL.long(),
        # Positions count through all rows: each row before is longer by ``extra``.
        positions_P=batch.positions_P + extra * (batch.positions_P // length),
    )


@functools.cache
def _model(
    task: TaskName, model_type: str, *, num_layers: int, hidden_size: int, dropout: float
) -> ScoredModel:
    architecture = ArchitectureConfig(
        model_type=model_type,
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=4,
        intermediate_size=2 * hidden_size,
        dropout=dropout,
    )
    vocabulary = Vocabulary(
        size=_VOCAB_SIZE,
        pad_id=_PAD_ID,
        max_length=2 * max(LENGTHS),
        labels=None if task.endswith("_lm") else _LABELS,
    )
    torch.manual_seed(num_layers)
    model = build_model(build_config(architecture, like=None, vocabulary=vocabulary), task)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(_WEIGHT_SCALE)
    num_classes = _VOCAB_SIZE if task.endswith("_lm") else len(_LABELS)
    return ScoredModel(model, task=task, num_classes=num_classes)
