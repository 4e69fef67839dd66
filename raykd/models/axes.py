"""What the dimensions of every tensor count, for each family: tables of modules.

A key is the end of a module's name; the longest that fits decides. A value gives the dimensions
of the module's ``weight``; its ``bias``, or a bare ``bias``, is as long as the weight's output.
"""

from transformers import PreTrainedConfig, PreTrainedModel

from raykd.axes import Axis, Space, Widths
from raykd.errors import ModelError
from raykd.models.families import FAMILIES, family_of

_Modules = dict[str, tuple[Axis, ...]]


def axes_of(model: PreTrainedModel) -> dict[str, tuple[Axis, ...]]:
    """Return the axes of every tensor of a transformers model, by its name.

    A tied tensor appears under each of its names, as the module of that name reads it.

    Raises:
        ModelError: The model is of an unknown family, or has a tensor that the family's table
            does not describe, because of an unusual setting.
    """
    model_type = model.config.model_type
    modules = _MODULES[family_of(model_type, where=type(model).__name__).model_type]
    widths = widths_of(model.config)
    axes = {}
    for name, tensor in model.state_dict().items():
        tensor_axes = _axes_of_tensor(name, modules)
        if tensor_axes is None or not _fits(tensor.shape, tensor_axes, widths):
            message = (
                f"{name}: raykd does not know what its dimensions {list(tensor.shape)} count in "
                f"a {model_type} model; use a source and a student with the family's usual "
                "settings"
            )
            raise ModelError(message)
        axes[name] = tensor_axes
    return axes


def widths_of(config: PreTrainedConfig) -> Widths:
    """Return the sizes of the spaces of a model of a transformers configuration."""
    family = FAMILIES[config.model_type]
    num_heads = int(config.num_attention_heads)
    has_positions = family.positions != "rotary" and getattr(config, "position_biased_input", True)
    head_width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
    # GPT-2 leaves n_inner null for its usual width.
    intermediate = getattr(config, family.intermediate_size) or 4 * config.hidden_size
    return Widths(
        hidden=int(config.hidden_size),
        num_heads=num_heads,
        num_key_value_heads=int(getattr(config, "num_key_value_heads", None) or num_heads),
        head_width=int(head_width),
        intermediate=int(intermediate),
        vocabulary=int(config.vocab_size),
        positions=int(config.max_position_embeddings) if has_positions else 0,
        relative_positions=_num_relative_positions(config),
        classes=int(config.num_labels),
        is_rotary=family.positions == "rotary",
    )


def _num_relative_positions(config: PreTrainedConfig) -> int:
    """Return the rows of DeBERTa's table, both directions: as transformers computes them."""
    if not getattr(config, "relative_attention", False):
        return 0
    if (buckets := getattr(config, "position_buckets", -1)) > 0:
        return 2 * int(buckets)
    longest = config.max_relative_positions
    return 2 * int(longest if longest >= 1 else config.max_position_embeddings)


def _axes_of_tensor(name: str, modules: _Modules) -> tuple[Axis, ...] | None:
    module, _, kind = name.rpartition(".")
    keys = [key for key in modules if f".{module}".endswith(f".{key}")]
    if kind not in ("weight", "bias") or not keys:
        return None
    axes = modules[max(keys, key=len)]
    # A bias has one axis, that of the output, wherever the matrix has it.
    return axes if kind == "weight" else tuple(axis for axis in axes if axis.role == "out")[:1]


def _fits(shape: tuple[int, ...], axes: tuple[Axis, ...], widths: Widths) -> bool:
    if len(shape) != len(axes):
        return False
    for size, axis in zip(shape, axes, strict=True):
        sizes = [widths.size_of(space) for space in axis.spaces]
        if None not in sizes and size != sum(filter(None, sizes)):
            return False
    return True


def _vector(space: Space) -> tuple[Axis, ...]:
    return (Axis(space=space),)


def _linear(out: Space, read: Space, *, blocks: tuple[Space, ...] = ()) -> tuple[Axis, ...]:
    return (Axis(space=out, blocks=blocks), Axis(space=read, role="in"))


def _conv1d(out: Space, read: Space, *, blocks: tuple[Space, ...] = ()) -> tuple[Axis, ...]:
    """GPT-2 keeps its matrices the other way round."""
    return tuple(reversed(_linear(out, read, blocks=blocks)))


def _table(rows: Space) -> tuple[Axis, ...]:
    return (Axis(space=rows), Axis(space="hidden"))


_QKV: tuple[Space, ...] = ("query_heads", "key_value_heads", "key_value_heads")
_DENSE = _linear("hidden", "hidden")
_NORM = _vector("hidden")

_ENCODER_EMBEDDINGS: _Modules = {
    "word_embeddings": _table("vocabulary"),
    "position_embeddings": _table("positions"),
    "token_type_embeddings": _table("fixed"),
}

_BERT: _Modules = {
    **_ENCODER_EMBEDDINGS,
    "LayerNorm": _NORM,
    "attention.self.query": _linear("query_heads", "hidden"),
    "attention.self.key": _linear("key_value_heads", "hidden"),
    "attention.self.value": _linear("key_value_heads", "hidden"),
    "attention.output.dense": _linear("hidden", "query_heads"),
    "intermediate.dense": _linear("intermediate", "hidden"),
    "output.dense": _linear("hidden", "intermediate"),
    "pooler.dense": _DENSE,
    "transform.dense": _DENSE,
    "decoder": _linear("vocabulary", "hidden"),
    "predictions": _vector("vocabulary"),
    "classifier": _linear("classes", "hidden"),
}

_ROBERTA: _Modules = {
    **_BERT,
    "lm_head": _vector("vocabulary"),
    "lm_head.dense": _DENSE,
    "lm_head.layer_norm": _NORM,
    "classifier.dense": _DENSE,
    "classifier.out_proj": _linear("classes", "hidden"),
}

_DEBERTA: _Modules = {
    **_BERT,
    "attention.self.query_proj": _linear("query_heads", "hidden"),
    "attention.self.key_proj": _linear("key_value_heads", "hidden"),
    "attention.self.value_proj": _linear("key_value_heads", "hidden"),
    "attention.self.pos_query_proj": _linear("query_heads", "hidden"),
    "attention.self.pos_key_proj": _linear("key_value_heads", "hidden"),
    "rel_embeddings": _table("relative_positions"),
    "conv.conv": (*_DENSE, Axis(space="fixed")),
    "lm_predictions.lm_head": _vector("vocabulary"),
    "lm_predictions.lm_head.dense": _DENSE,
}

_DISTILBERT: _Modules = {
    **_ENCODER_EMBEDDINGS,
    "LayerNorm": _NORM,
    "attention.q_lin": _linear("query_heads", "hidden"),
    "attention.k_lin": _linear("key_value_heads", "hidden"),
    "attention.v_lin": _linear("key_value_heads", "hidden"),
    "attention.out_lin": _linear("hidden", "query_heads"),
    "sa_layer_norm": _NORM,
    "ffn.lin1": _linear("intermediate", "hidden"),
    "ffn.lin2": _linear("hidden", "intermediate"),
    "output_layer_norm": _NORM,
    "vocab_transform": _DENSE,
    "vocab_layer_norm": _NORM,
    "vocab_projector": _linear("vocabulary", "hidden"),
    "pre_classifier": _DENSE,
    "classifier": _linear("classes", "hidden"),
}

_MODERNBERT: _Modules = {
    "tok_embeddings": _table("vocabulary"),
    "norm": _NORM,
    "attn_norm": _NORM,
    "attn.Wqkv": _linear("query_heads", "hidden", blocks=_QKV),
    "attn.Wo": _linear("hidden", "query_heads"),
    "mlp_norm": _NORM,
    "mlp.Wi": _linear("intermediate", "hidden", blocks=("intermediate", "intermediate")),
    "mlp.Wo": _linear("hidden", "intermediate"),
    "final_norm": _NORM,
    "head.dense": _DENSE,
    "decoder": _linear("vocabulary", "hidden"),
    "classifier": _linear("classes", "hidden"),
}

_GPT2: _Modules = {
    "wte": _table("vocabulary"),
    "wpe": _table("positions"),
    "ln_1": _NORM,
    "attn.c_attn": _conv1d("query_heads", "hidden", blocks=_QKV),
    "attn.c_proj": _conv1d("hidden", "query_heads"),
    "ln_2": _NORM,
    "mlp.c_fc": _conv1d("intermediate", "hidden"),
    "mlp.c_proj": _conv1d("hidden", "intermediate"),
    "ln_f": _NORM,
    "lm_head": _linear("vocabulary", "hidden"),
    "score": _linear("classes", "hidden"),
    "classifier": _linear("classes", "hidden"),
}

_DECODER: _Modules = {
    "embed_tokens": _table("vocabulary"),
    "input_layernorm": _NORM,
    "self_attn.q_proj": _linear("query_heads", "hidden"),
    "self_attn.k_proj": _linear("key_value_heads", "hidden"),
    "self_attn.v_proj": _linear("key_value_heads", "hidden"),
    "self_attn.o_proj": _linear("hidden", "query_heads"),
    "self_attn.q_norm": _vector("head_width"),
    "self_attn.k_norm": _vector("head_width"),
    "post_attention_layernorm": _NORM,
    "mlp.gate_proj": _linear("intermediate", "hidden"),
    "mlp.up_proj": _linear("intermediate", "hidden"),
    "mlp.down_proj": _linear("hidden", "intermediate"),
    "norm": _NORM,
    "lm_head": _linear("vocabulary", "hidden"),
    "score": _linear("classes", "hidden"),
}

_MODULES: dict[str, _Modules] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": _DISTILBERT,
    "deberta-v2": _DEBERTA,
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    "llama": _DECODER,
    "mistral": _DECODER,
    "qwen2": _DECODER,
    "qwen3": _DECODER,
}
