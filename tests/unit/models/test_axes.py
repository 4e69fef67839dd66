"""Every tensor of every family has axes that agree with its shape."""

from typing import Any

import pytest
import torch
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.axes import axes_of, widths_of
from raykd.models.families import FAMILIES
from raykd.models.parts import distinct_tensors, weights_of

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, LABELS, tiny_model
from tests.unit.init.sized_models import DECODERS, sized_model

# Every space has a size of its own, so that no axis fits by accident.
UNUSUAL = (40, 5, 56)


def unusual_model(family: str, task: TaskName) -> Any:
    settings: dict[str, Any] = {"vocab_size": 71}
    if family in DECODERS:
        settings["num_key_value_heads"] = 1
    if family in ("llama", "mistral", "qwen3"):
        settings["head_dim"] = 6
    if family == "deberta-v2":
        settings |= {"share_att_key": False, "legacy": False, "position_biased_input": True}
    return sized_model(family, task, UNUSUAL, settings=settings)


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_every_dimension_is_as_long_as_its_space(family: str, task: TaskName) -> None:
    for model in (tiny_model(family, task), unusual_model(family, task)):
        widths, axes = widths_of(model.config), axes_of(model)
        tensors = model.state_dict()
        assert axes.keys() == tensors.keys()
        for name, tensor in tensors.items():
            for size, axis in zip(tensor.shape, axes[name], strict=True):
                if axis.space != "fixed":
                    assert size == sum(widths.size_of(space) or 0 for space in axis.spaces), name


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_matrices_are_read_along_one_dimension_and_tables_along_none(
    family: str, task: TaskName
) -> None:
    for name, axes in axes_of(unusual_model(family, task)).items():
        is_table = "embed" in name or ".wte." in name or ".wpe." in name
        num_read = sum(axis.role == "in" for axis in axes)
        assert num_read == (len(axes) > 1 and not is_table), name


def test_widths_of_an_unusual_model() -> None:
    widths = widths_of(unusual_model("qwen3", "token_classification").config)
    assert (widths.hidden, widths.num_heads, widths.num_key_value_heads) == (40, 5, 1)
    assert (widths.head_width, widths.intermediate, widths.vocabulary) == (6, 56, 71)
    assert (widths.positions, widths.relative_positions, widths.classes) == (0, 0, len(LABELS))
    assert widths.is_rotary


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 0),
        ({"relative_attention": True}, 2 * 512),
        ({"relative_attention": True, "max_relative_positions": 20}, 2 * 20),
        ({"relative_attention": True, "position_buckets": 8}, 2 * 8),
    ],
)
def test_relative_positions_count_both_directions(settings: dict[str, Any], expected: int) -> None:
    model = tiny_model("deberta-v2", "masked_lm", settings=settings)
    assert widths_of(model.config).relative_positions == expected
    assert not expected or model.deberta.encoder.rel_embeddings.num_embeddings == expected


def test_gpt2s_usual_intermediate_width_is_four_times_the_hidden_size() -> None:
    model = tiny_model("gpt2", "causal_lm")
    model.config.n_inner = None
    assert widths_of(model.config).intermediate == 4 * 32


def test_a_tensor_without_a_rule_is_named() -> None:
    model = tiny_model("deberta-v2", "masked_lm", settings={"embedding_size": 16})
    with pytest.raises(ModelError, match=r"embeddings\.\w+\.weight: raykd does not know"):
        axes_of(model)


def test_a_tensor_of_an_unknown_name_is_named() -> None:
    model = tiny_model("bert", "masked_lm")
    model.extra = torch.nn.Linear(32, 32)
    with pytest.raises(ModelError, match=r"extra\.weight: raykd does not know .* \[32, 32\]"):
        axes_of(model)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "untied"])
def test_weights_know_whether_the_decoder_is_the_table(family: str, is_tied: bool) -> None:
    task = next(iter(FAMILIES[family].heads))
    model = sized_model(family, task, settings={"tie_word_embeddings": is_tied})
    weights = weights_of(model)
    assert weights.state.keys() == distinct_tensors(model).keys()
    assert weights.state.keys() | weights.aliases.keys() == model.state_dict().keys()
    assert weights.is_tied == is_tied


@pytest.mark.parametrize("family", FAMILIES)
def test_what_scores_classes_ties_nothing(family: str) -> None:
    weights = weights_of(tiny_model(family, "token_classification"))
    assert not weights.is_tied
    assert weights.decoder_norm == ()
    assert not weights.aliases


@pytest.mark.parametrize("family", FAMILIES)
def test_the_norm_before_the_decoder_is_what_it_reads(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    model = tiny_model(family, task)
    (norm,) = {name.rpartition(".")[0] for name in weights_of(model).decoder_norm}
    outputs: list[torch.Tensor] = []
    read: list[torch.Tensor] = []
    model.get_submodule(norm).register_forward_hook(lambda _m, _i, out: outputs.append(out))
    model.get_output_embeddings().register_forward_pre_hook(lambda _m, i: read.append(i[0]))
    model(input_ids=torch.tensor([[5, 6, 7]]))
    assert torch.equal(outputs[-1], read[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_that_adds_zero_is_the_identity_in_pre_norm_families_alone(family: str) -> None:
    task = next(iter(FAMILIES[family].heads))
    model = tiny_model(family, task)
    weights = weights_of(model)
    for name, tensor in weights.state.items():
        is_norm = "norm" in name.lower() or ".ln_" in name
        if weights.places[name].layer == 1 and not is_norm:
            tensor.zero_()
    layer = model.get_submodule(f"{FAMILIES[family].backbone}.{FAMILIES[family].layers}.1")
    seen: list[tuple[torch.Tensor, Any]] = []
    layer.register_forward_hook(lambda _module, inputs, out: seen.append((inputs[0], out)))
    model(input_ids=torch.tensor([[5, 6, 7]]))
    ((before, after),) = seen
    after = after[0] if isinstance(after, tuple) else after
    assert torch.equal(before, after) == weights.is_pre_norm
