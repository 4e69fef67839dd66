"""Copied tensors are bit-equal to their source; a whole copy is the source."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.init.copy_layers import RANDOM, InitResult, copy_layers
from raykd.layer_map import Part, layer_map
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, places_of, set_tensors

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, padded_batch, scored, tiny_model

ALL: tuple[Part, ...] = ("embeddings", "encoder", "head")


def copied(
    source: Any, target: Any, *, layers: Sequence[int], parts: Sequence[Part] = ALL
) -> InitResult:
    result = copy_layers(
        distinct_tensors(source),
        distinct_tensors(target),
        source_places=places_of(source),
        target_places=places_of(target),
        layers=layers,
        parts=parts,
    )
    set_tensors(target, result.state)
    return result


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_a_full_copy_reproduces_the_logits(family: str, task: TaskName) -> None:
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    batch = padded_batch(task, summary=FAMILIES[family].summary)
    expected_PK = scored(source, task)(batch).logits_PK
    assert not torch.equal(scored(target, task)(batch).logits_PK, expected_PK)
    result = copied(source, target, layers=[0, 1])
    assert RANDOM not in result.provenance.values()
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
    assert result.provenance.keys() == distinct_tensors(target).keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_not_asked_for_stay_random(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    source, target = tiny_model(family, task, seed=1), tiny_model(family, task, seed=2)
    before = {name: tensor.clone() for name, tensor in distinct_tensors(target).items()}
    places = places_of(target)
    result = copied(source, target, layers=[0, 1], parts=["encoder"])
    for name, tensor in distinct_tensors(target).items():
        is_copied = places[name].part == "encoder"
        assert (result.provenance[name] == RANDOM) != is_copied
        assert torch.equal(tensor, distinct_tensors(source)[name] if is_copied else before[name])


def test_other_sizes_are_refused_with_both_shapes() -> None:
    source = tiny_model("bert", "masked_lm")
    target = tiny_model("bert", "masked_lm", settings={"max_position_embeddings": 40})
    with pytest.raises(
        ModelError, match=r"position_embeddings.*is \[40, 32\], the source's .* is \[512, 32\]"
    ):
        copied(source, target, layers=[0, 1])
