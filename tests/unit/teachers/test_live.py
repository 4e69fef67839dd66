"""A live teacher is frozen: no gradient, no dropout, out of the reach of its holder."""

import torch
from raykd.batch import LayersWanted
from raykd.config.schema.run import TaskName
from raykd.teachers.live import LiveTeacher

from tests.tiny_models import padded_batch, scored, tiny_model

TASK: TaskName = "masked_lm"


def test_a_teacher_gives_what_its_model_gives_in_evaluation_mode() -> None:
    model = scored(tiny_model("bert", TASK, dropout=0.5), TASK)
    batch = padded_batch(TASK)
    with torch.no_grad():
        expected = model(batch, LayersWanted()).logits_PK
    outputs = LiveTeacher(model.train())(batch)
    assert torch.equal(outputs.logits_PK, expected)


def test_a_teacher_has_no_gradient() -> None:
    teacher = LiveTeacher(scored(tiny_model("bert", TASK), TASK))
    outputs = teacher(padded_batch(TASK))
    assert not outputs.logits_PK.requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())


class Holder(torch.nn.Module):
    def __init__(self, teacher: LiveTeacher) -> None:
        super().__init__()
        self.teacher = teacher


def test_a_module_that_holds_a_teacher_does_not_hold_its_weights() -> None:
    holder = Holder(LiveTeacher(scored(tiny_model("bert", TASK), TASK)))
    assert not list(holder.parameters())
    assert not holder.state_dict()
    holder.train()
    assert not holder.teacher.model.training


def test_layers_that_are_wanted_come_without_gradient() -> None:
    teacher = LiveTeacher(scored(tiny_model("bert", TASK), TASK))
    batch = padded_batch(TASK)
    outputs = teacher(batch, LayersWanted(hidden=(1,)))
    assert list(outputs.hidden_states_TD) == [1]
    assert len(outputs.hidden_states_TD[1]) == batch.num_tokens
    assert not outputs.hidden_states_TD[1].requires_grad
