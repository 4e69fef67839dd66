"""From the losses section of a run to the weighted terms on what is inside the models."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from raykd.batch import LayersWanted
from raykd.config.schedule import Schedule, parse_schedule
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)
from raykd.config.schema.losses import LossesConfig
from raykd.layer_map import layer_map, validate
from raykd.losses.comparisons import (
    Comparison,
    ModelShape,
    PerTokenLoss,
    compare_attention_relations,
    compare_attention_scores,
    compare_hidden_states,
)


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
            compared = _comparison(section, student, teacher, followed.get(teacher_name))
        except ValueError as error:
            message = f"losses.{name}: {error}"
            raise ValueError(message) from error
        terms.append(
            LayerTerm(
                name=name,
                weight=parse_schedule(section.weight),
                teacher=teacher_name,
                of_student=compared.of_student,
                of_teacher=compared.of_teacher,
                per_token=compared.per_token,
                projections=torch.nn.ModuleDict(compared.projections),
            )
        )
    return tuple(terms)


def _comparison(
    section: HiddenStatesConfig | AttentionScoresConfig | AttentionRelationsConfig,
    student: ModelShape,
    teacher: ModelShape,
    followed: tuple[int, ...] | None,
) -> Comparison:
    if isinstance(section, AttentionRelationsConfig):
        return compare_attention_relations(section, student=student, teacher=teacher)
    layers = _compared(section, student, teacher, followed)
    if isinstance(section, HiddenStatesConfig):
        return compare_hidden_states(section, layers, student=student, teacher=teacher)
    return compare_attention_scores(layers, student=student, teacher=teacher)


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
