"""A student's architecture: what is given, what the data says, what the teacher has."""

from typing import Any

import pytest
from raykd.config.schema.model import ArchitectureConfig
from raykd.errors import ConfigError, ModelError
from raykd.models.build import Vocabulary, build_config, build_model, count_parameters
from raykd.models.families import FAMILIES, num_positions
from raykd.models.parts import num_parameters

from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, tiny_model, vocabulary


def built(like: Any = None, **fields: Any) -> Any:
    return build_config(
        ArchitectureConfig(**fields), like=like, vocabulary=vocabulary("masked_lm")
    )


@pytest.mark.parametrize(("family", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_parameters_are_counted_without_memory(family: str, task: Any) -> None:
    model = tiny_model(family, task)
    counts = count_parameters(model.config, task)
    assert counts == num_parameters(model)
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_takes_what_is_given(family: str) -> None:
    config = built(model_type=family, num_layers=3, hidden_size=24, num_heads=2, dropout=0.25)
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 24, 2)
    assert {getattr(config, name) for name in FAMILIES[family].dropouts} == {0.25}
    longest = num_positions(config)
    assert longest is None or longest >= vocabulary("masked_lm").max_length


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_changes_its_teachers_architecture(family: str) -> None:
    teacher = built(model_type=family, num_layers=6, hidden_size=24, num_heads=2)
    student = built(teacher, num_layers=4)
    assert student.model_type == family
    assert (student.num_hidden_layers, student.hidden_size) == (4, 24)
    task = next(iter(FAMILIES[family].heads))
    layers = build_model(student, task).get_submodule(
        f"{FAMILIES[family].backbone}.{FAMILIES[family].layers}"
    )
    assert len(layers) == 4


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_any_length_fit(family: str) -> None:
    long = Vocabulary(size=67, pad_id=3, max_length=1_500, labels=None)
    config = build_config(ArchitectureConfig(model_type=family), like=None, vocabulary=long)
    longest = num_positions(config)
    assert longest is None or longest >= 1_500


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"settings": {"hiden_act": "relu"}}, r"settings\.hiden_act.*did you mean hidden_act"),
        ({"settings": {"layer_norm_eps": "tiny"}}, r"'layer_norm_eps' expected float, got str"),
        ({"settings": {"hidden_size": 96}}, r"write student\.architecture\.hidden_size"),
        ({"settings": {"vocab_size": 9}}, r"settings\.vocab_size: holds 9, but the data needs 67"),
        ({"settings": {"max_position_embeddings": 8}}, r"holds 8, but the data needs 24"),
        ({"settings": {"pad_token_id": 3}}, r"pad_token_id: is 3, but the data's is 0"),
        ({"num_heads": 5}, r"hidden_size \(768\) must be a multiple of num_heads \(5\)"),
        ({"num_layers": 0}, r"num_hidden_layers must be >= 1, got 0"),
        ({"hidden_size": -8}, r"hidden_size must be >= 1, got -8"),
        ({"settings": {"hidden_act": "nope"}}, r"a bert model cannot be built: 'nope'"),
        ({"dropout": 3.0}, r"cannot be built: dropout probability"),
    ],
)
def test_contradictions_are_config_errors(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"student\.architecture.*{message}"):
        build_model(built(model_type="bert", **fields), "masked_lm")


def test_unknown_families_are_named() -> None:
    with pytest.raises(ModelError, match=r"student\.architecture\.model_type: 'brt' is not"):
        built(model_type="brt")


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_must_divide_the_width_in_every_family(family: str) -> None:
    with pytest.raises(ConfigError, match=r"hidden_size \(32\) must be a multiple of num_heads"):
        built(model_type=family, hidden_size=32, num_heads=5)


def test_a_shallower_student_keeps_its_teachers_head_width() -> None:
    """In some models, such as the small Qwen3, heads are wider than their share."""
    teacher = built(
        model_type="qwen3", num_layers=4, hidden_size=32, num_heads=2, settings={"head_dim": 32}
    )
    assert built(teacher, num_layers=2).head_dim == 32
    assert built(teacher, hidden_size=48).head_dim == 24


def test_a_student_keeps_its_teachers_padded_vocabulary_and_special_ids() -> None:
    teacher = built(
        model_type="gpt2", num_layers=2, hidden_size=32, num_heads=2, settings={"vocab_size": 72}
    )
    teacher.eos_token_id = 2
    student = built(teacher, num_layers=1)
    assert (student.vocab_size, student.eos_token_id, student.pad_token_id) == (72, 2, 0)


def test_fields_go_by_the_name_that_all_families_share_too() -> None:
    config = built(model_type="gpt2", settings={"max_position_embeddings": 64})
    assert config.n_positions == 64
