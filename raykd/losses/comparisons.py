"""What is compared inside two models, token by token: hidden states, scores, relations."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from raykd.batch import AttentionInputs, Batch, LayersWanted, ModelOutputs
from raykd.config.schema.layer_losses import AttentionRelationsConfig, HiddenStatesConfig
from raykd.losses.layers import (
    attention_mse,
    attention_scores,
    hidden_cosine,
    hidden_mse,
    relation_kl,
)
from raykd.losses.softened import widened

PerTokenLoss = Callable[[ModelOutputs, ModelOutputs, Batch], torch.Tensor]
"""(student, teacher, batch) to values of shape [T], padding left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """What a loss has to know of a model to compare its layers."""

    num_layers: int
    hidden_size: int
    num_heads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One loss on layers, without its weight."""

    of_student: LayersWanted
    of_teacher: LayersWanted
    per_token: PerTokenLoss
    """The value at each token."""

    projections: dict[str, torch.nn.Module] = field(default_factory=dict)
    """What it learns beside the student."""


def compare_hidden_states(
    section: HiddenStatesConfig,
    layers: tuple[int, ...],
    *,
    student: ModelShape,
    teacher: ModelShape,
) -> Comparison:
    """Compare hidden states, layer by layer as they are paired (TinyBERT, section 3.1)."""
    # Hidden state 0 is the output of the embeddings, i + 1 that of layer i.
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
        result_TD: torch.Tensor = projection(widened(hidden_TD))
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

    return Comparison(
        of_student=LayersWanted(hidden=tuple(mine for mine, _ in pairs)),
        of_teacher=LayersWanted(hidden=tuple(sorted({theirs for _, theirs in pairs}))),
        per_token=per_token,
        projections=projections,
    )


def compare_attention_scores(
    layers: tuple[int, ...],
    *,
    student: ModelShape,
    teacher: ModelShape,
) -> Comparison:
    """Compare attention scores before the softmax, head by head (TinyBERT, section 3.1).

    What a token sees is every token, or those before it; local windows, which ModernBERT and
    Mistral have in some layers, are not told apart.

    Raises:
        ValueError: The models have different numbers of heads.
    """
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

    return Comparison(
        of_student=LayersWanted(attention=tuple(range(len(layers)))),
        of_teacher=LayersWanted(attention=tuple(sorted(set(layers)))),
        per_token=per_token,
    )


def compare_attention_relations(
    section: AttentionRelationsConfig, *, student: ModelShape, teacher: ModelShape
) -> Comparison:
    """Compare the self-relations of one layer of each model (MiniLMv2, section 3.1).

    Raises:
        ValueError: The teacher has no such layer, or the heads do not divide the widths.
    """
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

    return Comparison(
        of_student=LayersWanted(attention=(mine_last,)),
        of_teacher=LayersWanted(attention=(layer,)),
        per_token=per_token,
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
