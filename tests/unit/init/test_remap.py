"""Remapping keeps the source in the top-left block of what is larger."""

from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.provenance import InitResult
from raykd.init.remap import remap
from raykd.init.select import select
from raykd.layer_map import growth_map
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, places_of

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS
from tests.unit.init.sized_models import (
    CLASSES,
    DECODERS,
    DOUBLE,
    HALF_MORE,
    SMALL,
    logits_of,
    random_names,
    sides,
    sized_model,
    start,
)


def remapped(source: Any, target: Any, *, num_layers: int = 2) -> InitResult:
    layers = growth_map("repeat_last", num_student_layers=num_layers, num_source_layers=2)
    return remap(*sides(source, target), layers=layers, class_order=CLASSES)


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_widths_repeat_the_last_layer_bit_by_bit(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source = sized_model(family, task, seed=1)
    target = sized_model(family, task, num_layers=4, seed=2)
    start(target, remapped(source, target, num_layers=4))
    places, theirs = places_of(target), distinct_tensors(source)
    for name, tensor in distinct_tensors(target).items():
        layer = places[name].layer
        followed = name if layer is None else name.replace(f".{layer}.", f".{min(layer, 1)}.")
        assert torch.equal(tensor, theirs[followed])


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_selecting_the_first_indices_undoes_it(family: str, task: TaskName) -> None:
    source = sized_model(family, task, seed=1)
    grown = sized_model(family, task, HALF_MORE, num_layers=3, seed=2)
    back = sized_model(family, task, seed=3)
    start(grown, remapped(source, grown, num_layers=3))
    result = select(*sides(grown, back), layers=(0, 1), indices="first", class_order=CLASSES)
    start(back, result)
    for name, tensor in distinct_tensors(source).items():
        assert torch.equal(distinct_tensors(back)[name], tensor)


@pytest.mark.parametrize("family", FAMILIES)
def test_matrices_are_zero_and_vectors_their_own_beyond_the_block(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = sized_model(family, task, seed=1), sized_model(family, task, DOUBLE, seed=2)
    own = {name: tensor.clone() for name, tensor in distinct_tensors(target).items()}
    result = remapped(source, target)
    theirs = distinct_tensors(source)
    for name, tensor in result.state.items():
        origin = result.provenance[name]
        if tensor.shape == theirs[name].shape:  # what is as long as the vocabulary or one head
            assert origin.how == "copied"
        elif tensor.ndim == 1:
            assert origin.how == "first entries"
            kept = torch.isin(tensor, theirs[name])
            assert int(kept.sum()) == len(theirs[name])
            assert torch.equal(tensor[~kept], own[name][~kept])
        else:
            assert origin.how == "top-left block"
            assert torch.equal(tensor[tensor != 0], theirs[name][theirs[name] != 0])


def test_heads_stay_with_the_keys_they_read() -> None:
    source = sized_model("llama", "causal_lm", SMALL, seed=1)  # 4 heads read 2
    target = sized_model(
        "llama", "causal_lm", (64, 8, 48), seed=2, settings={"num_key_value_heads": 2}
    )
    start(target, remapped(source, target))
    mine, theirs = (m.model.layers[0].self_attn.q_proj.weight for m in (target, source))
    for group in range(2):  # each of two heads at first, of four then, of width 8
        grown, kept = mine[32 * group :][:32], theirs[16 * group :][:16]
        assert torch.equal(grown[:16, :32], kept)
        assert not grown[16:].any()


@pytest.mark.parametrize("family", [f for f in DECODERS if f != "qwen2"])
def test_wider_heads_keep_rotary_pairs(family: str) -> None:
    source, target = (
        sized_model(family, "causal_lm", seed=seed, settings={"head_dim": width})
        for seed, width in ((1, 8), (2, 16))
    )
    start(target, remapped(source, target))
    mine, theirs = (m.model.layers[0].self_attn.k_proj.weight for m in (target, source))
    heads, kept = mine.unflatten(0, (2, 2, 8)), theirs.unflatten(0, (2, 2, 4))
    assert torch.equal(heads[:, :, :4], kept)
    assert not heads[:, :, 4:].any()


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_rows_that_the_source_lacks_keep_their_start(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source = sized_model(family, task, seed=1)
    target = sized_model(family, task, DOUBLE, seed=2, settings={"vocab_size": 72})
    own = target.get_input_embeddings().weight.clone()
    start(target, remapped(source, target))
    rows = target.get_input_embeddings().weight
    assert torch.equal(rows[67:], own[67:])
    assert torch.equal(rows[:67, :32], source.get_input_embeddings().weight)
    assert not rows[:67, 32:].any()


def test_the_function_is_not_kept() -> None:
    source = sized_model("bert", "masked_lm", seed=1)
    target = sized_model("bert", "masked_lm", DOUBLE, seed=2)
    start(target, remapped(source, target))
    difference = (logits_of(target, "masked_lm") - logits_of(source, "masked_lm")).abs().max()
    assert difference > 0.01


def test_a_narrower_student_is_refused() -> None:
    source, target = sized_model("bert", "masked_lm", DOUBLE), sized_model("bert", "masked_lm")
    with pytest.raises(ModelError, match="hidden_size is 32, the source's 64"):
        remapped(source, target)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_needs_no_weights(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    with torch.device("meta"):
        source, target = sized_model(family, task), sized_model(family, task, DOUBLE)
    result = remapped(source, target)
    assert all(tensor.is_meta for tensor in result.state.values())
    assert result.provenance.keys() == distinct_tensors(target).keys()
    assert not random_names(result)
