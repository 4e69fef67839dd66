"""Copied tensors are bit-equal to their source; a whole copy is the source."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.copy_layers import copy_layers
from raykd.init.provenance import InitResult
from raykd.layer_map import Part, layer_map
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, places_of, set_tensors, weights_of

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, padded_batch, scored, tiny_model
from tests.unit.init.sized_models import CLASSES, logits_of, random_names, sized_model

ALL: tuple[Part, ...] = ("embeddings", "encoder", "head")


def copied(
    source: Any,
    target: Any,
    *,
    layers: Sequence[int] = (0, 1),
    parts: Sequence[Part] = ALL,
    class_order: Sequence[int] | None = CLASSES,
) -> InitResult:
    result = copy_layers(
        weights_of(source),
        weights_of(target),
        layers=layers,
        parts=parts,
        class_order=class_order,
    )
    set_tensors(target, result.state)
    return result


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_a_full_copy_reproduces_the_logits(family: str, task: TaskName) -> None:
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    batch = padded_batch(task, summary=FAMILIES[family].summary)
    expected_PK = scored(source, task)(batch).logits_PK
    assert not torch.equal(scored(target, task)(batch).logits_PK, expected_PK)
    result = copied(source, target)
    assert {origin.how for origin in result.provenance.values()} == {"copied"}
    assert torch.equal(scored(target, task)(batch).logits_PK, expected_PK)


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_copied_layers_are_bit_equal(family: str, task: TaskName) -> None:
    source = tiny_model(family, task, num_layers=4, seed=1)
    target = tiny_model(family, task, seed=2)
    layers = layer_map("even", num_student_layers=2, num_source_layers=4)
    assert layers == (1, 3)
    result = copied(source, target, layers=layers)
    prefix = f"{FAMILIES[family].backbone}.{FAMILIES[family].layers}"
    for student_layer, source_layer in enumerate(layers):
        mine = target.get_submodule(f"{prefix}.{student_layer}").state_dict()
        theirs = source.get_submodule(f"{prefix}.{source_layer}").state_dict()
        assert mine.keys() <= theirs.keys()
        for name, tensor in mine.items():
            assert torch.equal(tensor, theirs[name])
            origin = result.provenance[f"{prefix}.{student_layer}.{name}"]
            assert origin.source == f"{prefix}.{source_layer}.{name}"
    assert result.provenance.keys() == distinct_tensors(target).keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_not_asked_for_stay_random(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    before = {name: tensor.clone() for name, tensor in distinct_tensors(target).items()}
    places = places_of(target)
    result = copied(source, target, parts=["encoder"])
    for name, tensor in distinct_tensors(target).items():
        is_copied = places[name].part == "encoder"
        assert (result.provenance[name].source == name) == is_copied
        assert torch.equal(tensor, distinct_tensors(source)[name] if is_copied else before[name])
        assert is_copied or result.provenance[name].how.endswith("not asked for")


@pytest.mark.parametrize("family", FAMILIES)
def test_classes_follow_their_names(family: str) -> None:
    task: TaskName = "sequence_classification"
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    copied(source, target, class_order=[2, 0, 1])
    assert torch.equal(logits_of(target, task), logits_of(source, task)[:, [2, 0, 1]])


@pytest.mark.parametrize("family", FAMILIES)
def test_other_classes_leave_the_whole_head_random(family: str) -> None:
    task: TaskName = "sequence_classification"
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    result = copied(source, target, class_order=None)
    heads = {name for name, place in places_of(target).items() if place.part == "head"}
    assert heads
    assert random_names(result) == heads
    assert {result.provenance[name].how for name in heads} == {
        "random: the source has other classes"
    }


@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "gpt2", "llama"])
def test_a_tie_of_one_model_alone_is_followed(family: str, is_tied: bool) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = (
        sized_model(family, task, seed=seed, settings={"tie_word_embeddings": tied})
        for seed, tied in ((1, is_tied), (2, not is_tied))
    )
    copied(source, target)
    embeddings = source.get_input_embeddings().weight
    assert torch.equal(target.get_input_embeddings().weight, embeddings)
    assert torch.equal(target.get_output_embeddings().weight, embeddings)
    if is_tied:
        assert torch.equal(logits_of(target, task), logits_of(source, task))


@pytest.mark.parametrize(("source_size", "size"), [(67, 72), (72, 67)])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_vocabularies_of_other_padding_share_their_rows(
    family: str, source_size: int, size: int
) -> None:
    task = next(iter(FAMILIES[family].heads))
    source = sized_model(family, task, seed=1, settings={"vocab_size": source_size})
    target = sized_model(family, task, seed=2, settings={"vocab_size": size})
    own = target.get_input_embeddings().weight.clone()
    copied(source, target)
    rows = target.get_input_embeddings().weight
    assert torch.equal(rows[:67], source.get_input_embeddings().weight[:67])
    assert torch.equal(rows[67:], own[67:])
    assert torch.equal(logits_of(target, task), logits_of(source, task))


@pytest.mark.parametrize(("source_length", "length"), [(40, 64), (64, 40)])
def test_tables_of_positions_share_their_rows(source_length: int, length: int) -> None:
    source, target = (
        tiny_model("bert", "masked_lm", seed=seed, settings={"max_position_embeddings": size})
        for seed, size in ((1, source_length), (2, length))
    )
    own = target.bert.embeddings.position_embeddings.weight.clone()
    result = copied(source, target)
    rows = target.bert.embeddings.position_embeddings.weight
    assert torch.equal(rows[:40], source.bert.embeddings.position_embeddings.weight[:40])
    assert torch.equal(rows[40:], own[40:])
    how = result.provenance["bert.embeddings.position_embeddings.weight"].how
    assert how == "rows that both have"


@pytest.mark.parametrize(("source_reach", "reach"), [(32, 48), (48, 32)])
def test_relative_positions_are_copied_by_their_distance(source_reach: int, reach: int) -> None:
    source, target = (
        sized_model(
            "deberta-v2",
            "masked_lm",
            seed=seed,
            settings={"position_buckets": -1, "max_relative_positions": size},
        )
        for seed, size in ((1, source_reach), (2, reach))
    )
    copied(source, target)
    assert torch.equal(logits_of(target, "masked_lm"), logits_of(source, "masked_lm"))


def test_modernberts_first_layer_has_no_norm_to_give() -> None:
    task: TaskName = "masked_lm"
    source, target = (tiny_model("modernbert", task, seed=seed) for seed in (1, 2))
    result = copied(source, target, layers=[0, 0])
    assert random_names(result) == {"model.layers.1.attn_norm.weight"}
    how = result.provenance["model.layers.1.attn_norm.weight"].how
    assert how == "random: the source has no such tensor"


def test_precision_is_the_targets() -> None:
    source = tiny_model("bert", "masked_lm", seed=1).bfloat16()
    target = tiny_model("bert", "masked_lm", seed=2)
    copied(source, target)
    theirs = distinct_tensors(source)
    for name, tensor in distinct_tensors(target).items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, theirs[name].float())


def test_other_widths_are_refused_with_both_shapes() -> None:
    source = sized_model("bert", "masked_lm", (32, 4, 48))
    target = sized_model("bert", "masked_lm", (32, 4, 64))
    with pytest.raises(
        ModelError,
        match=r"intermediate\.dense\.weight.*is \[64, 32\], the source's .* is \[48, 32\]",
    ):
        copied(source, target)


def test_heads_of_another_width_are_refused_in_equal_shapes() -> None:
    source, target = (sized_model("bert", "masked_lm", (32, heads, 48)) for heads in (4, 2))
    with pytest.raises(
        ModelError, match=r"is \[32, 32\] with 2 heads.* is \[32, 32\] with 4 heads"
    ):
        copied(source, target)
    result = copied(source, target, parts=["embeddings"])
    assert result.provenance["bert.embeddings.LayerNorm.bias"].how == "copied"


def test_a_model_of_another_family_is_refused() -> None:
    source, target = tiny_model("llama", "causal_lm"), tiny_model("gpt2", "causal_lm")
    with pytest.raises(ModelError, match=r"transformer\.\w+.*: the source has no such tensor"):
        copied(source, target)


def test_a_plan_needs_no_weights() -> None:
    with torch.device("meta"):
        source = tiny_model("bert", "token_classification", seed=1)
        target = tiny_model("bert", "token_classification", settings={"vocab_size": 72})
    result = copy_layers(
        weights_of(source), weights_of(target), layers=(0, 1), parts=ALL, class_order=(1, 2, 0)
    )
    assert all(tensor.is_meta for tensor in result.state.values())
    shapes = {name: tensor.shape for name, tensor in distinct_tensors(target).items()}
    assert {name: tensor.shape for name, tensor in result.state.items()} == shapes
    assert not random_names(result)
