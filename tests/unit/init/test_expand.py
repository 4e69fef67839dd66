"""Expanded models compute what their source does; what is inexact is measured."""

from typing import Any, Literal

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.copy_layers import copy_layers
from raykd.init.expand import expand
from raykd.init.provenance import InitResult
from raykd.init.transfer import PARTS
from raykd.layer_map import Growth
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, weights_of

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS
from tests.unit.init.sized_models import (
    CLASSES,
    DECODERS,
    DOUBLE,
    HALF_MORE,
    logit_difference,
    logits_of,
    random_names,
    sides,
    sized_model,
    start,
)

PRE_NORM = [name for name, family in FAMILIES.items() if family.is_pre_norm]
POST_NORM = [name for name, family in FAMILIES.items() if not family.is_pre_norm]


def first_task(family: str) -> TaskName:
    return next(iter(FAMILIES[family].heads))


def expanded(
    source: Any,
    target: Any,
    *,
    width: Literal["fpi", "aki"] = "fpi",
    depth: Growth | Literal["identity"] = "stack",
) -> InitResult:
    result = expand(
        *sides(source, target),
        width=width,
        depth=depth,
        class_order=CLASSES,
        generator=torch.Generator().manual_seed(0),
    )
    start(target, result)
    return result


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_doubled_widths_keep_the_function(family: str, task: TaskName) -> None:
    source = sized_model(family, task, seed=1)
    target = sized_model(family, task, DOUBLE, seed=2)
    assert logit_difference(source, target, task) > 0.01
    result = expanded(source, target)
    assert not random_names(result)
    assert logit_difference(source, target, task) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_function_is_kept_tied_or_not(family: str) -> None:
    task = first_task(family)
    for ties in ((True, True), (True, False), (False, False)):
        source, target = (
            sized_model(family, task, size, seed=seed, settings={"tie_word_embeddings": is_tied})
            for size, seed, is_tied in (((32, 4, 48), 1, ties[0]), (DOUBLE, 2, ties[1]))
        )
        expanded(source, target)
        assert logit_difference(source, target, task) < 1e-5, ties


def test_the_legacy_and_the_other_head_of_deberta_keep_the_function() -> None:
    for is_legacy in (True, False):
        source, target = (
            sized_model("deberta-v2", "masked_lm", size, seed=1, settings={"legacy": is_legacy})
            for size in ((32, 4, 48), DOUBLE)
        )
        result = expanded(source, target)
        assert logit_difference(source, target, "masked_lm") < 1e-5
        shared = [n for n, o in result.provenance.items() if o.how.endswith("the tied decoder")]
        assert len(shared) == 2
        assert all("LayerNorm" in name for name in shared)


def test_a_tied_student_of_an_untied_source_takes_the_embeddings() -> None:
    source, target = (
        sized_model("llama", "causal_lm", size, seed=1, settings={"tie_word_embeddings": is_tied})
        for size, is_tied in (((32, 4, 48), False), (DOUBLE, True))
    )
    expanded(source, target)
    assert logit_difference(source, target, "causal_lm") > 0.01
    source.lm_head.weight.data.copy_(source.model.embed_tokens.weight)
    assert logit_difference(source, target, "causal_lm") < 1e-5


@pytest.mark.parametrize("num_key_value_heads", [2, 4, 8])
@pytest.mark.parametrize("family", DECODERS)
def test_grouped_queries_keep_the_function(family: str, num_key_value_heads: int) -> None:
    source = sized_model(family, "causal_lm", seed=1)  # 4 heads read 2
    target = sized_model(
        family,
        "causal_lm",
        DOUBLE,
        seed=2,
        settings={"num_key_value_heads": num_key_value_heads},
    )
    expanded(source, target)
    assert logit_difference(source, target, "causal_lm") < 1e-5


def test_heads_wider_than_their_share_keep_the_function() -> None:
    source, target = (
        sized_model("qwen3", "causal_lm", size, seed=1, settings={"head_dim": 16})
        for size in ((32, 4, 48), (64, 8, 100))
    )
    expanded(source, target)
    assert logit_difference(source, target, "causal_lm") < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_more_units_alone_keep_the_function(family: str) -> None:
    """A hidden size that stays leaves norms alone, so no factor has to be whole."""
    task = first_task(family)
    source = sized_model(family, task, seed=1)
    target = sized_model(family, task, (32, 4, 70), seed=2)
    expanded(source, target)
    assert logit_difference(source, target, task) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_hidden_size_half_as_large_again_changes_the_function_a_little(family: str) -> None:
    """Norms see half of the channels twice: measured, 2 to 11 % of the largest logit."""
    task = first_task(family)
    source = sized_model(family, task, seed=1)
    target = sized_model(family, task, HALF_MORE, seed=2)
    unlike = logit_difference(source, target, task)
    expanded(source, target)
    difference = logit_difference(source, target, task)
    largest = float(logits_of(source, task).abs().max())
    assert 1e-4 * largest < difference < 0.2 * largest
    assert difference < unlike / 3


@pytest.mark.parametrize("family", PRE_NORM)
def test_inserted_layers_keep_the_function(family: str) -> None:
    task = first_task(family)
    source = sized_model(family, task, seed=1)
    for size in ((32, 4, 48), DOUBLE):
        target = sized_model(family, task, size, num_layers=4, seed=2)
        result = expanded(source, target, depth="identity")
        assert logit_difference(source, target, task) < 1e-5
        zeros = {n for n, origin in result.provenance.items() if origin.how.startswith("zero")}
        assert zeros == {n for n in zeros if ".1." in n or ".3." in n}
        assert len(zeros) == (8 if family == "gpt2" else 4)  # two matrices of each layer, biases


@pytest.mark.parametrize("family", PRE_NORM)
def test_the_layers_of_the_source_are_left_among_inserted_ones(family: str) -> None:
    task = first_task(family)
    source = sized_model(family, task, seed=1)
    grown = sized_model(family, task, num_layers=4, seed=2)
    back = sized_model(family, task, seed=3)
    expanded(source, grown, depth="identity")
    result = copy_layers(*sides(grown, back), layers=(0, 2), parts=PARTS, class_order=CLASSES)
    start(back, result)
    for name, tensor in distinct_tensors(source).items():
        assert torch.equal(distinct_tensors(back)[name], tensor)


@pytest.mark.parametrize("family", POST_NORM)
def test_layers_that_add_nothing_are_refused_after_norms(family: str) -> None:
    source = sized_model(family, first_task(family))
    target = sized_model(family, first_task(family), num_layers=4)
    with pytest.raises(ModelError, match="identity needs a family that normalises before"):
        expanded(source, target, depth="identity")


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_sizes_give_the_source_bit_by_bit(family: str) -> None:
    task = first_task(family)
    source, target = (sized_model(family, task, seed=seed) for seed in (1, 2))
    for width in ("fpi", "aki"):
        result = expanded(source, target, width=width)
        assert {origin.how for origin in result.provenance.values()} == {"copied"}
        for name, tensor in distinct_tensors(source).items():
            assert torch.equal(distinct_tensors(target)[name], tensor)


def test_what_copies_read_is_divided_in_float64() -> None:
    source = sized_model("bert", "masked_lm", seed=1)
    target = sized_model("bert", "masked_lm", (96, 12, 144), seed=2)
    expanded(source, target)
    mine = target.bert.encoder.layer[1].output.dense.weight
    theirs = source.bert.encoder.layer[1].output.dense.weight
    third = (theirs.double() / 3).float()
    assert torch.equal(mine[:32, :48], third)
    columns = {tuple(column) for column in third.T.tolist()}
    assert {tuple(column) for column in mine[:32].T.tolist()} == columns


@pytest.mark.parametrize("family", FAMILIES)
def test_aki_takes_repeated_outputs_from_the_following_layer(family: str) -> None:
    task = first_task(family)
    source = sized_model(family, task, num_layers=3, seed=1)
    own, target = (sized_model(family, task, DOUBLE, num_layers=3, seed=2) for _ in range(2))
    expanded(source, own)
    result = expanded(source, target, width="aki")
    fpi, aki = weights_of(own), weights_of(target)
    mixed = set()
    for name, tensor in aki.state.items():
        layer = aki.places[name].layer
        if layer in (None, 2) or torch.equal(tensor, fpi.state[name]):
            assert torch.equal(tensor, fpi.state[name])
            continue
        following = name.replace(f".{layer}.", f".{layer + 1}.")
        dim = [axis.role for axis in aki.axes[name]].index("out")
        mine, from_fpi, from_next = (
            rows.movedim(dim, 0).flatten(1) if rows.ndim > 1 else rows[:, None]
            for rows in (tensor, fpi.state[name], fpi.state[following])
        )
        is_mine, is_next = (mine == from_fpi).all(dim=1), (mine == from_next).all(dim=1)
        assert bool((is_mine | is_next).all())
        assert int(is_next.sum()) == len(is_next) // 2
        assert result.provenance[name].how.endswith(f"repeats from {following}")
        mixed.add(aki.places[name])
    inner = {place for place in aki.places.values() if place.layer in (0, 1)}
    assert {place.name for place in inner - mixed} <= {
        "self_attn.q_norm.weight",  # of the width of one head, which nothing repeats
        "self_attn.k_norm.weight",
    }


def test_aki_changes_the_function_and_breaks_the_symmetry_of_copies() -> None:
    source = sized_model("bert", "masked_lm", seed=1)
    fpi, aki = (sized_model("bert", "masked_lm", DOUBLE, seed=2) for _ in range(2))
    expanded(source, fpi)
    expanded(source, aki, width="aki")
    assert logit_difference(source, aki, "masked_lm") > 1e-3
    rows = [model.bert.encoder.layer[0].intermediate.dense.weight for model in (fpi, aki)]
    assert [len(weight.unique(dim=0)) for weight in rows] == [48, 96]


def test_the_draw_is_the_generators() -> None:
    source = sized_model("gpt2", "causal_lm", seed=1)
    targets = [sized_model("gpt2", "causal_lm", DOUBLE, seed=2) for _ in range(3)]
    states = [
        expand(
            *sides(source, target),
            width="fpi",
            depth="stack",
            class_order=(),
            generator=torch.Generator().manual_seed(seed),
        ).state["transformer.wte.weight"]
        for target, seed in zip(targets, (0, 0, 1), strict=True)
    ]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_rows_that_the_source_lacks_keep_their_start() -> None:
    source = sized_model("gpt2", "causal_lm", seed=1)
    target = sized_model("gpt2", "causal_lm", DOUBLE, seed=2, settings={"vocab_size": 72})
    own = target.transformer.wte.weight.clone()
    expanded(source, target)
    assert torch.equal(target.transformer.wte.weight[67:], own[67:])
    assert logit_difference(source, target, "causal_lm") < 1e-5


def test_heads_of_another_width_are_refused() -> None:
    source, target = (
        sized_model("bert", "masked_lm"),
        sized_model("bert", "masked_lm", (64, 4, 96)),
    )
    with pytest.raises(ModelError, match="a head of the student is 16 wide, of the source 8"):
        expanded(source, target)


@pytest.mark.parametrize("width", ["fpi", "aki"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_plan_needs_no_weights(family: str, width: Literal["fpi", "aki"]) -> None:
    task = first_task(family)
    with torch.device("meta"):
        source, target = sized_model(family, task), sized_model(family, task, DOUBLE, num_layers=4)
    plan = expand(
        *sides(source, target),
        width=width,
        depth="identity" if family in PRE_NORM else "stack",
        class_order=CLASSES,
        generator=torch.Generator().manual_seed(0),
    )
    assert all(tensor.is_meta for tensor in plan.state.values())
    shapes = {name: tensor.shape for name, tensor in distinct_tensors(target).items()}
    assert {name: tensor.shape for name, tensor in plan.state.items()} == shapes
