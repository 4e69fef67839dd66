"""`transformers.Trainer` with the usual `compute_loss`, and TRL's trainer for distillation."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, Trainer, TrainingArguments

from tests.bench.rivals.cases import LEARNING_RATE, Case, Material
from tests.bench.rivals.kd_loss import kd_loss, logits_and_labels
from tests.bench.rivals.models import load_models
from tests.bench.rivals.rows import NO_LABEL, RowSet, load_rows, padded
from tests.bench.rivals.watch import Watch

_LossOf = Callable[[Any, Any, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How the trainer is used."""

    bf16: bool = False
    picks_first: bool = False
    """Logits of the labelled places are picked before the softmax, as DistilBERT's code does."""


def train(case: Case, material: Material, watch: Watch, kind: Kind) -> None:
    """Train with `transformers.Trainer`."""
    student, teacher = load_models(case, material, watch)
    trainer = _KDTrainer(
        model=student,
        args=TrainingArguments(**_arguments(case, material, bf16=kind.bf16)),
        train_dataset=RowSet(load_rows(material.rows)),
        data_collator=padded,
    )
    trainer.use(teacher, _soft_loss_of(case, kind), watch)
    trainer.create_optimizer()
    trainer.optimizer.register_step_post_hook(watch.step_ended)
    trainer.train()


def _arguments(case: Case, material: Material, *, bf16: bool) -> dict[str, Any]:
    return {
        "output_dir": str(material.output("transformers")),
        "per_device_train_batch_size": case.batch_rows,
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": bf16,
        "use_cpu": True,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }


def _soft_loss_of(case: Case, kind: Kind) -> _LossOf:
    def loss_of(outputs: Any, teacher_outputs: Any, labels: torch.Tensor) -> torch.Tensor:
        student_logits, teacher_logits, targets = logits_and_labels(
            outputs, teacher_outputs, labels, is_causal=case.task == "causal_lm"
        )
        if kind.picks_first:
            is_scored = targets != NO_LABEL
            student_logits, teacher_logits = student_logits[is_scored], teacher_logits[is_scored]
            targets = targets[is_scored]
        return kd_loss(student_logits, teacher_logits, targets, temperature=case.temperature)

    return loss_of


class _KDTrainer(Trainer):  # type: ignore[misc]
    """The usual way to distil with the trainer: another `compute_loss`."""

    def use(self, teacher: Any, loss_of: _LossOf, watch: Watch) -> None:
        self._teacher, self._loss_of, self._watch = teacher, loss_of, watch
        # The loss is a mean over the batch, as a model's own.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: object = None,  # noqa: ARG002  the trainer gives it
    ) -> Any:
        outputs = model(**inputs)
        with torch.no_grad():
            teacher_outputs = self._teacher(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
            )
        soft = self._loss_of(outputs, teacher_outputs, inputs["labels"])
        loss = outputs.loss + soft
        hard = outputs.loss
        self._watch.found({"loss": loss.item(), "cross_entropy": hard.item(), "kl": soft.item()})
        return (loss, outputs) if return_outputs else loss


def train_trl(case: Case, material: Material, watch: Watch) -> None:
    """Train with TRL's GKD trainer on the data alone: forward KL, nothing generated."""
    gkd = importlib.import_module("trl.experimental.gkd")

    class Watched(gkd.GKDTrainer):  # type: ignore[misc,name-defined]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            watch.found({"kl": loss.item()})
            return loss

    rows = Dataset.from_list(list(RowSet(load_rows(material.rows)))).with_format("torch")
    student, teacher = load_models(case, material, watch)
    arguments = _arguments(case, material, bf16=False)
    trainer = Watched(
        model=student,
        teacher_model=teacher,
        args=gkd.GKDConfig(
            **arguments,
            lmbda=0.0,
            beta=0.0,
            temperature=case.temperature,
            gradient_checkpointing=False,
        ),
        train_dataset=rows,
        data_collator=padded,
        processing_class=AutoTokenizer.from_pretrained(material.data / "tokenizer"),
    )
    trainer.create_optimizer()
    trainer.optimizer.register_step_post_hook(watch.step_ended)
    trainer.train()
