"""From sections of the configuration to terms on layers: what is compared with what."""

from collections.abc import Mapping

import pytest
import torch
from raykd.batch import AttentionInputs, Batch, LayersWanted, ModelOutputs
from raykd.config.schema.layer_losses import (
    AttentionRelationsConfig,
    AttentionScoresConfig,
    HiddenStatesConfig,
)
from raykd.config.schema.losses import LossesConfig
from raykd.losses.comparisons import ModelShape
from raykd.losses.layer_terms import LayerTerm, build_layer_terms
from raykd.losses.layers import attention_scores, hidden_cosine, hidden_mse, relation_kl
from raykd.scores import DenseScores

from tests.tiny_models import padded_batch

STUDENT = ModelShape(num_layers=2, hidden_size=8, num_heads=2)
TEACHER = ModelShape(num_layers=4, hidden_size=8, num_heads=2)
WIDE = ModelShape(num_layers=4, hidden_size=12, num_heads=4)


def built(
    config: LossesConfig,
    *,
    teacher: ModelShape = TEACHER,
    followed: Mapping[str, tuple[int, ...]] | None = None,
) -> LayerTerm:
    (term,) = build_layer_terms(
        config, student=STUDENT, teachers={"big": teacher}, followed=followed or {}
    )
    return term


def hidden(numbers: tuple[int, ...], *, width: int, seed: int) -> ModelOutputs:
    generator = torch.Generator().manual_seed(seed)
    nothing = torch.zeros(0, width)
    return ModelOutputs(
        hidden_PD=nothing,
        scores=DenseScores(logits_PK=nothing),
        hidden_states_TD={
            number: torch.randn(5, width, generator=generator) for number in numbers
        },
    )


def attending(
    layers: tuple[int, ...], batch: Batch, *, shape: ModelShape, seed: int, causal: bool = False
) -> ModelOutputs:
    generator = torch.Generator().manual_seed(seed)
    rows, length = batch.input_ids_BL.shape
    nothing = torch.zeros(0, shape.hidden_size)

    def inputs() -> AttentionInputs:
        width = shape.hidden_size // shape.num_heads
        parts = torch.randn(3, rows, shape.num_heads, length, width, generator=generator)
        return AttentionInputs(
            query_BHLE=parts[0],
            key_BGLE=parts[1],
            value_BGLE=parts[2],
            scaling=width**-0.5,
            is_causal=causal,
        )

    return ModelOutputs(
        hidden_PD=nothing,
        scores=DenseScores(logits_PK=nothing),
        attention={layer: inputs() for layer in layers},
    )


def test_hidden_states_follow_the_pattern_and_sum_over_layers_and_embeddings() -> None:
    term = built(LossesConfig(hidden_states=HiddenStatesConfig(weight="1 @ 0.5 -> 0 @ 0.5")))
    assert term.of_student == LayersWanted(hidden=(0, 1, 2))
    assert term.of_teacher == LayersWanted(hidden=(0, 2, 4))
    assert [term.weight.at(progress) for progress in (0.0, 0.4, 0.6)] == [1.0, 1.0, 0.0]
    student, teacher = hidden((0, 1, 2), width=8, seed=0), hidden((0, 2, 4), width=8, seed=1)
    expected_T = sum(
        hidden_mse(student.hidden_states_TD[mine], teacher.hidden_states_TD[theirs])
        for mine, theirs in ((0, 0), (1, 2), (2, 4))
    )
    batch = padded_batch("masked_lm")
    torch.testing.assert_close(term.per_token(student, teacher, batch), expected_T)


def test_the_map_of_the_init_is_shared_unless_a_pattern_is_given() -> None:
    followed = {"big": (0, 1)}
    config = HiddenStatesConfig(embeddings=False, distance="cosine")
    term = built(LossesConfig(hidden_states=config), followed=followed)
    assert term.of_teacher == LayersWanted(hidden=(1, 2))
    student, teacher = hidden((1, 2), width=8, seed=0), hidden((1, 2), width=8, seed=1)
    expected_T = sum(
        hidden_cosine(student.hidden_states_TD[n], teacher.hidden_states_TD[n]) for n in (1, 2)
    )
    batch = padded_batch("masked_lm")
    torch.testing.assert_close(term.per_token(student, teacher, batch), expected_T)
    given = LossesConfig(hidden_states=HiddenStatesConfig(pattern="last", embeddings=False))
    assert built(given, followed=followed).of_teacher == LayersWanted(hidden=(3, 4))
    listed = LossesConfig(hidden_states=HiddenStatesConfig(layers=(3, 0), embeddings=False))
    assert built(listed, followed=followed).of_teacher == LayersWanted(hidden=(1, 4))


def test_other_widths_are_projected_by_maps_that_learn() -> None:
    term = built(LossesConfig(hidden_states=HiddenStatesConfig()), teacher=WIDE)
    assert {name: tuple(p.shape) for name, p in term.projections.named_parameters()} == {
        "embeddings.weight": (12, 8),
        "layers.weight": (12, 8),
    }
    student, teacher = hidden((0, 1, 2), width=8, seed=0), hidden((0, 2, 4), width=12, seed=1)
    values_T = term.per_token(student, teacher, padded_batch("masked_lm"))
    expected_T = sum(
        hidden_mse(
            term.projections["layers" if mine else "embeddings"](student.hidden_states_TD[mine]),
            teacher.hidden_states_TD[theirs],
        )
        for mine, theirs in ((0, 0), (1, 2), (2, 4))
    )
    torch.testing.assert_close(values_T, expected_T)
    values_T.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in term.projections.parameters())
    assert not built(LossesConfig(hidden_states=HiddenStatesConfig())).projections


@pytest.mark.parametrize("causal", [False, True])
def test_attention_scores_compare_what_tokens_see(causal: bool) -> None:
    batch = padded_batch("masked_lm")
    term = built(LossesConfig(attention_scores=AttentionScoresConfig()))
    assert (term.of_student.attention, term.of_teacher.attention) == ((0, 1), (1, 3))
    student = attending((0, 1), batch, shape=STUDENT, seed=0, causal=causal)
    teacher = attending((1, 3), batch, shape=TEACHER, seed=1, causal=causal)
    expected = torch.zeros(batch.num_tokens)
    token = 0
    for row, length in enumerate(batch.is_token_BL.sum(1).tolist()):
        for query in range(length):
            seen = slice(0, query + 1 if causal else length)
            for mine, theirs in ((0, 1), (1, 3)):
                a, b = (
                    attention_scores(x.query_BHLE, x.key_BGLE, scaling=x.scaling)
                    for x in (student.attention[mine], teacher.attention[theirs])
                )
                expected[token] += (a - b)[row, :, query, seen].square().mean()
            token += 1
    torch.testing.assert_close(term.per_token(student, teacher, batch), expected)


def test_relations_compare_the_last_layers_at_any_number_of_heads() -> None:
    batch = padded_batch("masked_lm")
    config = AttentionRelationsConfig(relations=("value", "key"), num_heads=4)
    term = built(LossesConfig(attention_relations=config), teacher=WIDE)
    assert (term.of_student.attention, term.of_teacher.attention) == ((1,), (3,))
    student = attending((1,), batch, shape=STUDENT, seed=0)
    teacher = attending((3,), batch, shape=WIDE, seed=1)
    sees_BLL = batch.is_token_BL[:, None, :].expand(-1, batch.is_token_BL.shape[1], -1)
    expected_T = sum(
        relation_kl(
            getattr(student.attention[1], part).transpose(1, 2).flatten(2),
            getattr(teacher.attention[3], part).transpose(1, 2).flatten(2),
            num_heads=4,
            sees_BLL=sees_BLL,
            is_token_BL=batch.is_token_BL,
        )
        for part in ("value_BGLE", "key_BGLE")
    )
    torch.testing.assert_close(term.per_token(student, teacher, batch), expected_T)


@pytest.mark.parametrize(
    ("config", "teacher", "problem"),
    [
        (
            LossesConfig(attention_scores=AttentionScoresConfig()),
            WIDE,
            "losses.attention_scores: the student has 2 attention heads and the teacher 4",
        ),
        (
            LossesConfig(attention_relations=AttentionRelationsConfig(layer=4)),
            TEACHER,
            "losses.attention_relations: layer is 4, but the teacher has layers 0 to 3",
        ),
        (
            LossesConfig(hidden_states=HiddenStatesConfig(layers=(0, 7))),
            TEACHER,
            "losses.hidden_states: layers .* names .7., but the source has layers 0 to 3",
        ),
        (
            LossesConfig(attention_relations=AttentionRelationsConfig(num_heads=3)),
            TEACHER,
            "losses.attention_relations: num_heads is 3, but must divide the widths 8 and 8",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    config: LossesConfig, teacher: ModelShape, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        built(config, teacher=teacher)
