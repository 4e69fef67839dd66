"""How active the units of a model are on data: the ranking that subcloning keeps units by.

Letters beside those of ``raykd.batch``: N layers, H query heads, G key-value heads, I units of
a feed-forward block, W what a module reads, D or I or H times the width of a head.
"""

from collections.abc import Callable, Iterable

import torch
from transformers import PreTrainedModel

from raykd.axes import Scores, Space, Widths
from raykd.batch import Batch
from raykd.models.axes import axes_of, widths_of
from raykd.models.parts import num_layers, places_of
from raykd.models.scored import ScoredModel

_Hook = Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]

_TINY = torch.finfo(torch.float64).tiny  # a map that reads nothing but zeros ranks nothing


def activation_scores(model: ScoredModel, batches: Iterable[Batch]) -> Scores:
    """Return the mean |activation| of every channel, head and unit over the tokens of batches.

    The ranking of Weight Subcloning (Samragh et al., 2023, arXiv 2312.09299). What is measured
    is what the linear maps of the layers read:

        hidden            the input of every map that reads the residual stream, normalised to a
                          mean of 1 over the channels and summed over maps and layers, so that
                          no layer of large activations decides alone [the normalisation is ours]
        query heads       the input of a layer's attention output, mean over the head's width
        key-value heads   the mean of the query heads that read it [ours]
        intermediate      the input of a layer's last feed-forward map

    Padding is left out, dropout is off. The sums are in float64 and end on the CPU; the same
    batches give the same scores.

    Args:
        model: Stays as it is; evaluated in its own precision.
        batches: On the model's device; each is read once.

    Raises:
        ValueError: There is not one token.
    """
    sums: dict[str, torch.Tensor] = {}
    num_tokens = 0
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                for name, sum_W in _input_sums(model, batch).items():
                    sums[name] = sums[name] + sum_W if name in sums else sum_W
                num_tokens += batch.num_tokens
    finally:
        model.train(was_training)
    if not num_tokens:
        message = "activations are measured on tokens, but the batches have none"
        raise ValueError(message)
    return _scores(model.model, {name: sum_W.cpu() / num_tokens for name, sum_W in sums.items()})


def _input_sums(model: ScoredModel, batch: Batch) -> dict[str, torch.Tensor]:
    """Return the summed |input| over the tokens of a batch, [W], by name of the weight."""
    sums: dict[str, torch.Tensor] = {}
    handles = [
        _module(model.model, name).register_forward_pre_hook(
            _summing(name, sums, batch.is_token_BL)
        )
        for name in _read_spaces(model.model)
    ]
    try:
        model.hidden(batch)
    finally:
        for handle in handles:
            handle.remove()
    return sums


def _summing(name: str, sums: dict[str, torch.Tensor], is_token_BL: torch.Tensor) -> _Hook:
    def add(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        # DeBERTa applies the same maps to its table of relative positions, after the tokens.
        if name in sums or inputs[0].shape[:2] != is_token_BL.shape:
            return
        read_TW = inputs[0][is_token_BL]
        sums[name] = read_TW.abs().sum(dim=0, dtype=torch.float64)

    return add


def _read_spaces(model: PreTrainedModel) -> dict[str, Space]:
    """Return the weights of the layers' linear maps, and the space that each reads."""
    places = places_of(model)
    return {
        name: axis.space
        for name, axes in axes_of(model).items()
        for axis in axes
        if axis.role == "in" and places[name].layer is not None
    }


def _module(model: PreTrainedModel, weight: str) -> torch.nn.Module:
    module: torch.nn.Module = model.get_submodule(weight.rpartition(".")[0])
    return module


def _scores(model: PreTrainedModel, means: dict[str, torch.Tensor]) -> Scores:
    spaces, widths = _read_spaces(model), widths_of(model.config)
    hidden = [
        mean_D / mean_D.mean().clamp_min(_TINY) for mean_D in _reading("hidden", means, spaces)
    ]
    heads_NH = torch.stack(
        [_per_head(mean_W, widths) for mean_W in _reading("query_heads", means, spaces)]
    )
    group_size = widths.num_heads // widths.num_key_value_heads
    intermediate_NI = torch.stack(_reading("intermediate", means, spaces))
    assert len(heads_NH) == len(intermediate_NI) == num_layers(model.config)  # noqa: S101  the axes say so
    return Scores(
        hidden_D=torch.stack(hidden).sum(dim=0),
        query_heads_NH=heads_NH,
        key_value_heads_NG=heads_NH.unflatten(1, (-1, group_size)).mean(dim=-1),
        intermediate_NI=intermediate_NI,
    )


def _reading(
    space: Space, means: dict[str, torch.Tensor], spaces: dict[str, Space]
) -> list[torch.Tensor]:
    """Return what is measured in a space, in the order of the layers."""
    return [mean_W for name, mean_W in means.items() if spaces[name] == space]


def _per_head(mean_W: torch.Tensor, widths: Widths) -> torch.Tensor:
    mean_H: torch.Tensor = mean_W.unflatten(0, (-1, widths.head_width)).mean(dim=-1)
    return mean_H
