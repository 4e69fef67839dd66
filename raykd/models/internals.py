"""What the attention of chosen layers is computed from, kept while a model reads a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from raykd.batch import AttentionInputs
from raykd.errors import ModelError

_IMPLEMENTATION = "raykd_recording"
_DEBERTA_PROJECTIONS = ("query_proj", "key_proj", "value_proj")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionRecord:
    """Filled while the model reads one batch."""

    inputs: dict[int, AttentionInputs] = field(default_factory=dict)
    """By layer, counted from 0; complete when the recording has ended."""

    arguments: dict[str, object] = field(default_factory=dict)
    """For the forward of the backbone."""


@contextmanager
def recording(
    config: PreTrainedConfig, layers: torch.nn.ModuleList, wanted: tuple[int, ...]
) -> Iterator[AttentionRecord]:
    """Record what wanted layers attend with, as part of the graph.

    The model computes its attention as it always does, to the bit: scaled dot products of torch
    (sdpa), through the attention interface of transformers, or DeBERTa's own. No attention
    weights are held in memory. Of DeBERTa these are the projections of the tokens; the terms of
    relative positions in its scores are not among them, see ``require_product_scores``.

    Args:
        config: Of the model; the same again when the recording ends.
        layers: All layers of the model.
        wanted: Numbers of layers, from 0; none records nothing and changes nothing.

    Raises:
        ModelError: The model computes its attention in another way.
    """
    record = AttentionRecord()
    if not wanted:
        yield record
    elif config.model_type == "deberta-v2":
        with _recording_deberta(layers, wanted, record):
            yield record
    else:
        with _recording_interface(config, layers, wanted, record):
            yield record


def require_product_scores(config: PreTrainedConfig, *, where: str) -> None:
    """Check that a model's attention scores are products of its queries and keys alone.

    Args:
        config: The model's transformers configuration.
        where: The model or the key that asks, for the message.

    Raises:
        ModelError: They are not.
    """
    if getattr(config, "relative_attention", False):
        message = (
            f"{where}: a {config.model_type} model adds relative positions to its attention "
            "scores, which losses.attention_scores cannot compare; use losses.attention_relations"
        )
        raise ModelError(message)


@contextmanager
def _recording_interface(
    config: PreTrainedConfig,
    layers: torch.nn.ModuleList,
    wanted: tuple[int, ...],
    record: AttentionRecord,
) -> Iterator[None]:
    own = config._attn_implementation  # noqa: SLF001  transformers has no public name for it
    if own != "sdpa":
        message = (
            f"{config.name_or_path or config.model_type}: computes its attention by {own!r}, "
            "whose inputs cannot be recorded; leave attn_implementation out of its config.json"
        )
        raise ModelError(message)
    # Both registries are global; registering again replaces a function by itself.
    AttentionInterface.register(_IMPLEMENTATION, _record_and_attend)
    AttentionMaskInterface.register(_IMPLEMENTATION, sdpa_mask)
    layer_of = {module: number for number in wanted for module in layers[number].modules()}

    def keep(module: torch.nn.Module, inputs: AttentionInputs) -> None:
        if module in layer_of:
            record.inputs[layer_of[module]] = inputs

    # A function: of a dictionary that a layer is given, FSDP2 passes on a copy (transformers
    # issue 45663).
    record.arguments["raykd_keep"] = keep
    config._attn_implementation = _IMPLEMENTATION  # noqa: SLF001  see above
    try:
        yield
    finally:
        config._attn_implementation = own  # noqa: SLF001  see above


def _record_and_attend(
    module: torch.nn.Module,
    query_BHLE: torch.Tensor,
    key_BGLE: torch.Tensor,
    value_BGLE: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,  # what transformers passes to every attention function
) -> tuple[torch.Tensor, None]:
    inputs = AttentionInputs(
        query_BHLE=query_BHLE,
        key_BGLE=key_BGLE,
        value_BGLE=value_BGLE,
        scaling=options["scaling"],
        is_causal=bool(getattr(module, "is_causal", False)),
    )
    options.pop("raykd_keep")(module, inputs)
    attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
        module, query_BHLE, key_BGLE, value_BGLE, attention_mask, **options
    )
    return attended


@contextmanager
def _recording_deberta(
    layers: torch.nn.ModuleList, wanted: tuple[int, ...], record: AttentionRecord
) -> Iterator[None]:
    projected: dict[int, dict[str, torch.Tensor]] = {number: {} for number in wanted}

    def keep(
        number: int, name: str, _module: torch.nn.Module, _inputs: object, output: torch.Tensor
    ) -> None:
        # The same maps read the table of relative positions after the tokens.
        projected[number].setdefault(name, output)

    handles = [
        _deberta_attention(layers[number])
        .get_submodule(name)
        .register_forward_hook(partial(keep, number, name))
        for number in wanted
        for name in _DEBERTA_PROJECTIONS
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for number, outputs in projected.items():
        attention = _deberta_attention(layers[number])
        query_BHLE, key_BGLE, value_BGLE = (
            outputs[name].unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
            for name in _DEBERTA_PROJECTIONS
        )
        num_terms = 1 + len({"c2p", "p2c"} & set(attention.pos_att_type))
        record.inputs[number] = AttentionInputs(
            query_BHLE=query_BHLE,
            key_BGLE=key_BGLE,
            value_BGLE=value_BGLE,
            scaling=(query_BHLE.shape[-1] * num_terms) ** -0.5,
            is_causal=False,
        )


def _deberta_attention(layer: torch.nn.Module) -> Any:
    return layer.get_submodule("attention.self")
