"""TextBrewer's distiller with its cross entropy against the teacher, and hard labels.

That cross entropy is the KL and the teacher's entropy: the same gradient, another value. So the
losses on labels are compared alone.
"""

import importlib
from typing import Any

import torch

from tests.bench.rivals.cases import LEARNING_RATE, Case, Material
from tests.bench.rivals.models import load_models
from tests.bench.rivals.rows import NO_LABEL, RowSet, load_rows, padded
from tests.bench.rivals.watch import Watch


def train(case: Case, material: Material, watch: Watch) -> None:
    """Train with `textbrewer.GeneralDistiller`; what it compares is picked by its logits mask."""
    textbrewer = importlib.import_module("textbrewer")

    class Watched(textbrewer.GeneralDistiller):  # type: ignore[misc,name-defined]
        def train_on_batch(self, batch: Any, args: Any) -> Any:
            loss, terms = super().train_on_batch(batch, args)
            watch.found({"cross_entropy": terms["unweighted_hard_label_loss"].item()})
            return loss, terms

    student, teacher = load_models(case, material, watch)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE)
    optimizer.register_step_post_hook(watch.step_ended)
    output = str(material.output("textbrewer"))
    distiller = Watched(
        train_config=textbrewer.TrainingConfig(device="cpu", output_dir=output),
        distill_config=textbrewer.DistillationConfig(
            temperature=case.temperature,
            kd_loss_weight=case.temperature**2,
            hard_label_weight=1,
        ),
        model_T=teacher,
        model_S=student,
        adaptor_T=_adaptor(case),
        adaptor_S=_adaptor(case),
    )
    loader = torch.utils.data.DataLoader(
        RowSet(load_rows(material.rows)), batch_size=case.batch_rows, collate_fn=padded
    )
    with distiller:
        distiller.train(optimizer, loader, num_epochs=1, max_grad_norm=1.0)


def _adaptor(case: Case) -> Any:
    def adaptor(batch: dict[str, torch.Tensor], outputs: Any) -> dict[str, Any]:
        logits, labels = outputs.logits, batch["labels"]
        if case.task == "causal_lm":
            logits, labels = logits[:, :-1], labels[:, 1:]
        adapted = {"logits": (logits,), "losses": (outputs.loss,)}
        if labels.ndim > 1:
            adapted["logits_mask"] = ((labels != NO_LABEL).long(),)
        return adapted

    return adaptor
