"""The two models of a case, loaded as the peers load them."""

from typing import Any

import transformers

from tests.bench.rivals.cases import Case, Material
from tests.bench.rivals.watch import Watch

_CLASSES = {
    "masked_lm": "BertForMaskedLM",
    "causal_lm": "GPT2LMHeadModel",
    "sequence_classification": "BertForSequenceClassification",
}


def model_class(task: str) -> Any:
    """Return the class of the models of a task; its module is imported then."""
    return getattr(transformers, _CLASSES[task])


def load_models(case: Case, material: Material, watch: Watch) -> tuple[Any, Any]:
    """Return the student, in training mode, and the frozen teacher; memory counts from here."""
    of_task = model_class(case.task)
    watch.begin()
    teacher = of_task.from_pretrained(material.teacher).eval().requires_grad_(requires_grad=False)
    return of_task.from_pretrained(material.student).train(), teacher
