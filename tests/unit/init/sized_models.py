"""Random models of every family in several sizes, with the layouts that real ones have."""

from collections.abc import Mapping
from typing import Any

import torch
from raykd.axes import Weights
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.run import TaskName
from raykd.init.provenance import InitResult
from raykd.models.build import build_config, build_model
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, set_tensors, weights_of

from tests.tiny_models import LABELS, padded_batch, scored, vocabulary

CLASSES = tuple(range(len(LABELS)))
SMALL = (32, 4, 48)
DOUBLE = (64, 8, 96)
HALF_MORE = (48, 6, 72)

DECODERS = ("llama", "mistral", "qwen2", "qwen3")

# As in DeBERTa v3, with the convolution of the largest v2 beside it.
DEBERTA_SETTINGS = {
    "relative_attention": True,
    "pos_att_type": ["c2p", "p2c"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "conv_kernel_size": 3,
}


def sized_model(
    family: str,
    task: TaskName,
    size: tuple[int, int, int] = SMALL,
    *,
    num_layers: int = 2,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Return a model of (hidden size, heads, intermediate size) with no parameter at 0 or 1.

    Two query heads read one key-value head where a family can; DeBERTa has relative positions.
    """
    hidden_size, num_heads, intermediate_size = size
    usual: dict[str, Any] = DEBERTA_SETTINGS if family == "deberta-v2" else {}
    if family in DECODERS:
        usual = {"num_key_value_heads": num_heads // 2}
    architecture = ArchitectureConfig(
        model_type=family,
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_heads=num_heads,
        intermediate_size=intermediate_size,
        settings={**usual, **(settings or {})},
    )
    torch.manual_seed(seed)
    model = build_model(build_config(architecture, like=None, vocabulary=vocabulary(task)), task)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float("norm" in name.lower()), std=0.1)
    return model.eval()


def logits_of(model: Any, task: TaskName) -> torch.Tensor:
    """Return the scores of a padded batch, [P, K]."""
    batch = padded_batch(task, summary=FAMILIES[model.config.model_type].summary)
    with torch.no_grad():
        logits_PK: torch.Tensor = scored(model, task)(batch).logits_PK
    return logits_PK


def logit_difference(model: Any, other: Any, task: TaskName) -> float:
    """Return the largest difference of a score between two models."""
    return float((logits_of(model, task) - logits_of(other, task)).abs().max())


def start(model: Any, result: InitResult) -> None:
    """Give a model the tensors of a result, which has to name every one of them."""
    assert result.state.keys() == result.provenance.keys() == distinct_tensors(model).keys()
    set_tensors(model, result.state)


def sides(source: Any, target: Any) -> tuple[Weights, Weights]:
    """Return both models as initialisation sees them."""
    return weights_of(source), weights_of(target)


def random_names(result: InitResult) -> set[str]:
    """Return the tensors that keep their random start."""
    return {n for n, origin in result.provenance.items() if origin.how.startswith("random")}
