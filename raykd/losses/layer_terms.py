"""From the losses section of a run to the weighted terms on what is inside the models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from raykd.batch import AttentionInputs, Batch, LayersWanted, ModelOutputs
from raykd.config.schedule import Schedule, parse_schedule
from raykd.config.schema.losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
    LossesConfig,
)
from raykd.layer_map import layer_map, validate
from raykd.losses.layers import (
    attention_mse,
    attention_scores,
    hidden_cosine,
    hidden_mse,
    relation_kl,
)

PerTokenLoss = Callable[[ModelOutputs, ModelOutputs, Batch], torch.Tensor]
"""(student, teacher, batch) to values of shape [T], padding left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """What a loss has to know of a model to compare its layers."""

    num_layers: int
    hidden_size: int
    num_heads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTerm:
    """One weighted summand of the objective that looks at every token."""

    name: str
    """Its section in the configuration, and its name in the metrics."""

    weight: Schedule
    """Multiplier at each progress of the run."""

    teacher: str
    """The teacher it compares with."""

    of_student: LayersWanted
    of_teacher: LayersWanted
    per_token: PerTokenLoss
    """The unweighted value at each token."""

    projections: torch.nn.ModuleDict
    """What it learns beside the student; empty where nothing is."""


def build_layer_terms(
    config: LossesConfig,
    *,
    student: ModelShape,
    teachers: Mapping[str, ModelShape],
    followed: Mapping[str, tuple[int, ...]],
) -> tuple[LayerTerm, ...]:
    """Return the terms on layers whose sections are present, in the order of the schema.

    Args:
        config: The losses of a run.
        student: Its shape.
        teachers: Their shapes, by name.
        followed: By teacher, the layer of it that each layer of the student started from, where
            one did.

    Raises:
        ValueError: Layers, heads or widths of the two models do not allow the comparison.
    """
    terms = []
    for name, section in config.layer_terms.items():
        teacher_name = section.teacher or next(iter(teachers))
        teacher = teachers[teacher_name]
        try:
            parts = _parts_of(section, student, teacher, followed.get(teacher_name))
        except ValueError as error:
            message = f"losses.{name}: {error}"
            raise ValueError(message) from error
        of_student, of_teacher, per_token, projections = parts
        terms.append(
            LayerTerm(
                name=name,
                weight=parse_schedule(section.weight),
                teacher=teacher_name,
                of_student=of_student,
                of_teacher=of_teacher,
                per_token=per_token,
                projections=torch.nn.ModuleDict(projections),
            )
        )
    return tuple(terms)


_Parts = tuple[LayersWanted, LayersWanted, PerTokenLoss, dict[str, torch.nn.Module]]


def _parts_of(
    section: HiddenStatesConfig | AttentionScoresConfig | AttentionRelationsConfig,
    student: ModelShape,
    teacher: ModelShape,
    followed: tuple[int, ...] | None,
) -> _Parts:
    if isinstance(section, AttentionRelationsConfig):
        return _attention_relations(section, student=student, teacher=teacher)
    layers = _compared(section, student, teacher, followed)
    if isinstance(section, HiddenStatesConfig):
        return _hidden_states(section, layers, student=student, teacher=teacher)
    return _attention_scores(layers, student=student, teacher=teacher)


def _compared(
    section: HiddenStatesConfig | AttentionScoresConfig,
    student: ModelShape,
    teacher: ModelShape,
    followed: tuple[int, ...] | None,
) -> tuple[int, ...]:
    """Return the teacher's layer of each student's layer."""
    if section.layers is not None:
        validate(
            section.layers,
            num_student_layers=student.num_layers,
            num_source_layers=teacher.num_layers,
        )
        return section.layers
    if section.pattern is None and followed is not None:
        return followed
    return layer_map(
        section.pattern or "even",
        num_student_layers=student.num_layers,
        num_source_layers=teacher.num_layers,
    )


def _hidden_states(
    section: HiddenStatesConfig,
    layers: tuple[int, ...],
    *,
    student: ModelShape,
    teacher: ModelShape,
) -> _Parts:
    pairs = [(index + 1, layer + 1) for index, layer in enumerate(layers)]
    if section.embeddings:
        pairs = [(0, 0), *pairs]
    distance = hidden_mse if section.distance == "mse" else hidden_cosine
    projections: dict[str, torch.nn.Module] = {}
    if student.hidden_size != teacher.hidden_size:
        # One map for the embeddings and one for all layers (TinyBERT, section 3.1).
        names = ["embeddings", "layers"] if section.embeddings else ["layers"]
        projections = {
            name: torch.nn.Linear(student.hidden_size, teacher.hidden_size, bias=False)
            for name in names
        }

    def projected(number: int, hidden_TD: torch.Tensor) -> torch.Tensor:
        if not projections:
            return hidden_TD
        projection = projections["layers" if number else "embeddings"]
        result_TD: torch.Tensor = projection(hidden_TD.float())
        return result_TD

    def per_token(of_student: ModelOutputs, of_teacher: ModelOutputs, _: Batch) -> torch.Tensor:
        values_NT = [
            distance(
                projected(mine, of_student.hidden_states_TD[mine]),
                of_teacher.hidden_states_TD[theirs],
            )
            for mine, theirs in pairs
        ]
        return torch.stack(values_NT).sum(0)

    return (
        LayersWanted(hidden=tuple(mine for mine, _ in pairs)),
        LayersWanted(hidden=tuple(sorted({theirs for _, theirs in pairs}))),
        per_token,
        projections,
    )


def _attention_scores(
    layers: tuple[int, ...],
    *,
    student: ModelShape,
    teacher: ModelShape,
) -> _Parts:
    if student.num_heads != teacher.num_heads:
        message = (
            f"the student has {student.num_heads} attention heads and the teacher "
            f"{teacher.num_heads}, but scores are compared head by head: give both equally many, "
            "or use losses.attention_relations"
        )
        raise ValueError(message)

    def per_token(
        of_student: ModelOutputs, of_teacher: ModelOutputs, batch: Batch
    ) -> torch.Tensor:
        values_NT = []
        for index, layer in enumerate(layers):
            mine, theirs = of_student.attention[index], of_teacher.attention[layer]
            values_NT.append(
                attention_mse(
                    _scores(mine),
                    _scores(theirs),
                    sees_BLL=_sees(batch, mine, theirs),
                    is_token_BL=batch.is_token_BL,
                )
            )
        return torch.stack(values_NT).sum(0)

    return (
        LayersWanted(attention=tuple(range(len(layers)))),
        LayersWanted(attention=tuple(sorted(set(layers)))),
        per_token,
        {},
    )


def _attention_relations(
    section: AttentionRelationsConfig, *, student: ModelShape, teacher: ModelShape
) -> _Parts:
    num_heads = section.num_heads or student.num_heads
    layer = teacher.num_layers - 1 if section.layer is None else section.layer
    if layer >= teacher.num_layers:
        message = f"layer is {layer}, but the teacher has layers 0 to {teacher.num_layers - 1}"
        raise ValueError(message)
    if student.hidden_size % num_heads or teacher.hidden_size % num_heads:
        message = (
            f"num_heads is {num_heads}, but must divide the widths {student.hidden_size} and "
            f"{teacher.hidden_size} of student and teacher"
        )
        raise ValueError(message)
    mine_last = student.num_layers - 1

    def per_token(
        of_student: ModelOutputs, of_teacher: ModelOutputs, batch: Batch
    ) -> torch.Tensor:
        mine, theirs = of_student.attention[mine_last], of_teacher.attention[layer]
        sees_BLL = _sees(batch, mine, theirs)
        values_RT = [
            relation_kl(
                _joined(_part(mine, relation)),
                _joined(_part(theirs, relation)),
                num_heads=num_heads,
                sees_BLL=sees_BLL,
                is_token_BL=batch.is_token_BL,
            )
            for relation in section.relations
        ]
        return torch.stack(values_RT).sum(0)

    return (
        LayersWanted(attention=(mine_last,)),
        LayersWanted(attention=(layer,)),
        per_token,
        {},
    )


def _scores(inputs: AttentionInputs) -> torch.Tensor:
    return attention_scores(inputs.query_BHLE, inputs.key_BGLE, scaling=inputs.scaling)


def _part(inputs: AttentionInputs, relation: str) -> torch.Tensor:
    parts = {"query": inputs.query_BHLE, "key": inputs.key_BGLE, "value": inputs.value_BGLE}
    return parts[relation]


def _joined(part_BHLE: torch.Tensor) -> torch.Tensor:
    """Return the heads of each token side by side, [B, L, H * E]."""
    return part_BHLE.transpose(1, 2).flatten(2)


def _sees(batch: Batch, student: AttentionInputs, teacher: AttentionInputs) -> torch.Tensor:
    """Return which tokens [B, L (query), L (key)] both models let a token attend to."""
    is_token_BL = batch.is_token_BL
    length = is_token_BL.shape[1]
    sees_BLL = is_token_BL[:, None, :].expand(-1, length, -1)
    return sees_BLL.tril() if student.is_causal or teacher.is_causal else sees_BLL
