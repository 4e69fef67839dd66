"""`transformers.Trainer` with the usual `compute_loss`, and TRL's trainer for distillation."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoTokenizer, Trainer, TrainingArguments

from tests.bench.rivals.cases import LEARNING_RATE, Case, Material
from tests.bench.rivals.kd_loss import kd_loss, logits_and_labels
from tests.bench.rivals.models import load_models
from tests.bench.rivals.rows import NO_LABEL, RowSet, load_rows, padded
from tests.bench.rivals.watch import Watch

_LossOf = Callable[[Any, Any, Any], torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How the trainer is used."""

    bf16: bool = False
    picks_first: bool = False
    """Logits of the labelled places are picked before the softmax, as DistilBERT's code does."""

    is_fused: bool = False
    """Liger's chunked loss reads hidden states, and no logits are there."""

    device: str = "cpu"


def train(case: Case, material: Material, watch: Watch, kind: Kind) -> None:
    """Train with `transformers.Trainer`."""
    student, teacher = load_models(case, material, watch)
    teacher.to(kind.device)
    trainer = (_FusedTrainer if kind.is_fused else _KDTrainer)(
        model=student,
        args=TrainingArguments(**_arguments(case, material, kind)),
        train_dataset=RowSet(load_rows(material.rows)),
        data_collator=padded,
    )
    loss_of = _fused_loss_of(case) if kind.is_fused else _soft_loss_of(case, kind)
    trainer.use(teacher, loss_of, watch)
    trainer.create_optimizer()
    trainer.optimizer.register_step_post_hook(watch.step_ended)
    trainer.train()


def _arguments(case: Case, material: Material, kind: Kind) -> dict[str, Any]:
    on_cpu = kind.device == "cpu"
    return {
        "output_dir": str(material.output("transformers")),
        "per_device_train_batch_size": case.batch_rows,
        "num_train_epochs": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "bf16": kind.bf16,
        "use_cpu": on_cpu,
        "train_sampling_strategy": "sequential",
        # Writing the loss waits for a device.
        "logging_steps": 1 if on_cpu else case.num_steps,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": not on_cpu,
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
        self._watch.found(
            {"loss": loss.detach(), "cross_entropy": hard.detach(), "kl": soft.detach()}
        )
        return (loss, outputs) if return_outputs else loss


class _FusedTrainer(_KDTrainer):
    """The trainer with a loss that begins at hidden states."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: object = None,  # noqa: ARG002  the trainer gives it
    ) -> Any:
        loss = self._loss_of(model, self._teacher, inputs)
        self._watch.found({"loss": loss.detach()})
        return (loss, None) if return_outputs else loss


def _fused_loss_of(case: Case) -> _LossOf:
    """Return the same objective by Liger's loss: Jensen-Shannon of beta 0 is forward KL."""
    chunked = importlib.import_module("liger_kernel.chunked_loss")
    fused = chunked.LigerFusedLinearJSDLoss(
        weight_hard_loss=1.0,
        weight_soft_loss=case.temperature**2,
        beta=0.0,
        temperature=case.temperature,
    )

    def loss_of(student: Any, teacher: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        labels = inputs["labels"]
        student_hidden, student_decoder = _hidden_and_decoder(student, asked)
        with torch.no_grad():
            teacher_hidden, teacher_decoder = _hidden_and_decoder(teacher, asked)
        if case.task == "causal_lm":
            student_hidden, teacher_hidden = student_hidden[:, :-1], teacher_hidden[:, :-1]
            labels = labels[:, 1:]
        loss: torch.Tensor = fused(
            student_hidden.flatten(0, 1),
            student_decoder.weight,
            teacher_hidden.flatten(0, 1),
            teacher_decoder.weight,
            labels.flatten(),
            student_decoder.bias,
            teacher_decoder.bias,
        )
        return loss

    return loss_of


def _hidden_and_decoder(model: Any, asked: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Any]:
    """Return what the last linear map of BERT or GPT-2 reads, and that map."""
    hidden = model.base_model(**asked).last_hidden_state
    if hasattr(model, "lm_head"):
        return hidden, model.lm_head
    head = model.cls.predictions
    return head.transform(hidden), head.decoder


def train_trl(case: Case, material: Material, watch: Watch) -> None:
    """Train with TRL's GKD trainer on the data alone: forward KL, nothing generated."""
    from datasets import Dataset  # noqa: PLC0415  the others need no such package

    gkd = importlib.import_module("trl.experimental.gkd")

    class Watched(gkd.GKDTrainer):  # type: ignore[misc,name-defined]
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(*args, **kwargs)
            watch.found({"kl": loss.item()})
            return loss

    rows = Dataset.from_list(list(RowSet(load_rows(material.rows)))).with_format("torch")
    student, teacher = load_models(case, material, watch)
    arguments = _arguments(case, material, Kind())
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
