"""Where things are in the models that raykd trains: one row for each family of transformers.

A row is all that raykd knows of a family. Field names are those of transformers' configs;
``num_hidden_layers``, ``hidden_size``, ``num_attention_heads`` and ``max_position_embeddings``
are understood by every config, so only the names that differ stand here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedConfig

from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models import heads
from raykd.models.heads import Head


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Models that share a layout."""

    model_type: str
    """The name of the family in a model's config.json."""

    backbone: str
    """Attribute of a task model that turns tokens into hidden states."""

    layers: str
    """The list of layers, within the backbone."""

    embeddings: tuple[str, ...]
    """Modules of the backbone before the layers."""

    summary: Literal["first", "last"]
    """The token that stands for an example: the first of an encoder, the last of a decoder."""

    heads: Mapping[TaskName, Head]
    """The tasks the family serves, and how to score positions in each."""

    is_pre_norm: bool = False
    """Whether a layer adds to the residual stream without normalising the sum."""

    decoder_norms: tuple[str, ...]
    """Module of a task model that normalises what the decoder scores the vocabulary from; one
    for each head that the family has."""

    backbone_head: tuple[str, ...] = ()
    """Modules of the backbone that belong to the head."""

    positions: Literal["learned", "learned_after_padding", "rotary"] = "learned"
    """RoBERTa counts positions from the padding id plus one."""

    intermediate_size: str = "intermediate_size"
    """Config field with the width of the feed-forward block."""

    dropouts: tuple[str, ...]
    """Config fields with a dropout probability."""

    derived: tuple[str, ...] = ()
    """Config fields that transformers computes from others where they are not given."""

    undeclared: tuple[str, ...] = ()
    """Config fields that the models read but the config class does not declare."""


_BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")


def _roberta(model_type: str) -> Family:
    return Family(
        model_type=model_type,
        backbone="roberta",
        layers="encoder.layer",
        embeddings=("embeddings",),
        summary="first",
        heads={
            "masked_lm": heads.roberta_vocabulary,
            "sequence_classification": heads.roberta_summary,
            "token_classification": heads.token_classes,
        },
        decoder_norms=("lm_head.layer_norm",),
        positions="learned_after_padding",
        dropouts=_BERT_DROPOUTS,
    )


def _decoder(model_type: str, *, derived: tuple[str, ...]) -> Family:
    return Family(
        model_type=model_type,
        backbone="model",
        layers="layers",
        embeddings=("embed_tokens",),
        summary="last",
        heads={
            "causal_lm": heads.decoder_vocabulary,
            "sequence_classification": heads.decoder_summary,
            "token_classification": heads.decoder_token_classes,
        },
        is_pre_norm=True,
        decoder_norms=("model.norm",),
        positions="rotary",
        dropouts=("attention_dropout", "classifier_dropout"),
        derived=derived,
        undeclared=("classifier_dropout",),
    )


_BERT = Family(
    model_type="bert",
    backbone="bert",
    layers="encoder.layer",
    embeddings=("embeddings",),
    backbone_head=("pooler",),
    summary="first",
    heads={
        "masked_lm": heads.bert_vocabulary,
        "sequence_classification": heads.bert_summary,
        "token_classification": heads.token_classes,
    },
    decoder_norms=("cls.predictions.transform.LayerNorm",),
    dropouts=_BERT_DROPOUTS,
)

_DISTILBERT = Family(
    model_type="distilbert",
    backbone="distilbert",
    layers="transformer.layer",
    embeddings=("embeddings",),
    summary="first",
    heads={
        "masked_lm": heads.distilbert_vocabulary,
        "sequence_classification": heads.distilbert_summary,
        "token_classification": heads.token_classes,
    },
    decoder_norms=("vocab_layer_norm",),
    intermediate_size="hidden_dim",
    dropouts=("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"),
)

_DEBERTA = Family(
    model_type="deberta-v2",
    backbone="deberta",
    layers="encoder.layer",
    embeddings=("embeddings",),
    summary="first",
    heads={
        "masked_lm": heads.deberta_vocabulary,
        "sequence_classification": heads.deberta_summary,
        "token_classification": heads.token_classes,
    },
    # Of the head that transformers calls legacy, and of the other.
    decoder_norms=(
        "cls.predictions.transform.LayerNorm",
        "lm_predictions.lm_head.LayerNorm",
    ),
    dropouts=(
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "pooler_dropout",
        "cls_dropout",
    ),
    derived=("pooler_hidden_size",),
    undeclared=(
        "attention_head_size",
        "cls_dropout",
        "conv_act",
        "conv_groups",
        "conv_kernel_size",
        "embedding_size",
        "norm_rel_ebd",
        "position_buckets",
        "share_att_key",
    ),
)

_MODERNBERT = Family(
    model_type="modernbert",
    backbone="model",
    layers="layers",
    embeddings=("embeddings",),
    summary="first",
    heads={
        "masked_lm": heads.modernbert_vocabulary,
        "sequence_classification": heads.modernbert_classes,
        "token_classification": heads.modernbert_classes,
    },
    is_pre_norm=True,
    decoder_norms=("head.norm",),
    positions="rotary",
    dropouts=("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"),
    derived=("layer_types",),
    undeclared=("global_attn_every_n_layers",),
)

_GPT2 = Family(
    model_type="gpt2",
    backbone="transformer",
    layers="h",
    embeddings=("wte", "wpe", "drop"),
    summary="last",
    heads={
        "causal_lm": heads.decoder_vocabulary,
        "sequence_classification": heads.decoder_summary,
        "token_classification": heads.token_classes,
    },
    is_pre_norm=True,
    decoder_norms=("transformer.ln_f",),
    intermediate_size="n_inner",
    dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"),
    undeclared=("classifier_dropout",),
)

FAMILIES = {
    family.model_type: family
    for family in (
        _BERT,
        _roberta("roberta"),
        _roberta("xlm-roberta"),
        _DISTILBERT,
        _DEBERTA,
        _MODERNBERT,
        _GPT2,
        _decoder("llama", derived=("head_dim",)),
        _decoder("mistral", derived=("head_dim",)),
        _decoder("qwen2", derived=("layer_types",)),
        _decoder("qwen3", derived=("layer_types", "head_dim")),
    )
}


def family_of(model_type: str, *, where: str) -> Family:
    """Return the row of a family.

    Args:
        model_type: As in a model's config.json.
        where: The model or the key that asks, for the message.

    Raises:
        ModelError: raykd does not know the family.
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    message = f"{where}: {model_type!r} is not a family raykd knows; it knows {sorted(FAMILIES)}"
    raise ModelError(message)


def head_of(model_type: str, task: TaskName, *, where: str) -> Head:
    """Return how a family scores positions in a task.

    Raises:
        ModelError: raykd does not know the family, or it does not serve the task.
    """
    served = family_of(model_type, where=where).heads
    if task in served:
        return served[task]
    message = f"{where}: {model_type} models serve {sorted(served)}, not {task}"
    raise ModelError(message)


def num_positions(config: PreTrainedConfig) -> int | None:
    """Return the longest sequence that a model of a config can read; None without a limit."""
    family = FAMILIES[config.model_type]
    if family.positions == "rotary" or not getattr(config, "position_biased_input", True):
        return None
    before = positions_before_first(family, pad_id=config.pad_token_id)
    return int(config.max_position_embeddings) - before


def positions_before_first(family: Family, *, pad_id: int | None) -> int:
    """Return how many rows of the position embeddings no token ever reads."""
    return (pad_id or 0) + 1 if family.positions == "learned_after_padding" else 0
