"""What a run costs is what its own code computes, counted without computing it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.batch import Batch, ModelOutputs
from raykd.config.frozen import parse_frozen
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.schema.run import TaskName
from raykd.data.manifest import Manifest, Shard
from raykd.distill.models import check_layer_terms
from raykd.distill.setup import RunSetup
from raykd.models.build import build_config, build_model, count_parameters
from raykd.models.families import FAMILIES
from raykd.planning.flops import RunFlops, cache_flops, run_flops
from raykd.planning.memory import ModelPlan
from raykd.scores import DenseScores
from torch.utils.flop_counter import FlopCounterMode

from tests.small_runs import small_data, small_run
from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, LABELS, VOCAB_SIZE, scored, vocabulary

ROWS, LENGTH = 4, 10
LAYERS, WIDTH, INNER = 2, 32, 48
DEBERTA_AS_PUBLISHED = {
    "relative_attention": True,
    "position_buckets": 4,
    "pos_att_type": "p2c|c2p",
    "share_att_key": True,
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return data of one language, whose rows are all of one length."""
    data = small_data(tmp_path_factory.mktemp("data"))
    return with_shards(data, {"en": (ROWS, LENGTH)})


def with_shards(manifest: Manifest, languages: dict[str, tuple[int, int]]) -> Manifest:
    """Return the manifest with these languages' rows, and their lengths."""
    shards = tuple(
        Shard(path=name, language=name, batch_rows=(rows,), tokens=rows * length)
        for name, (rows, length) in languages.items()
    )
    return replace(manifest, splits={"train": shards})


def plan(model_type: str, task: TaskName, **fields: Any) -> ModelPlan:
    sizes: dict[str, Any] = {
        "num_layers": LAYERS,
        "hidden_size": WIDTH,
        "num_heads": 4,
        "intermediate_size": INNER,
    }
    architecture = ArchitectureConfig(model_type=model_type, **(sizes | fields))
    config = build_config(architecture, like=None, vocabulary=vocabulary(task))
    return ModelPlan(config=config, parameters=count_parameters(config, task))


def setup_of(
    manifest: Manifest, teacher: ModelPlan | None, task: TaskName = "masked_lm", **changes: Any
) -> RunSetup:
    given: dict[str, Any] = {
        "train__micro_batch_size": ROWS,
        "data__masking": {"fraction": 0.3},
        "losses": {"cross_entropy": {}},
    }
    if teacher is not None:
        given |= {"teachers": {"big": {"model": "nowhere"}}, "losses": {"forward_kl": {}}}
    config = small_run(Path("nowhere"), task=task, **(given | changes))
    return RunSetup(config=config, manifest=manifest)


def flops(
    manifest: Manifest,
    student: ModelPlan,
    teacher: ModelPlan | None = None,
    *,
    task: TaskName = "masked_lm",
    **changes: Any,
) -> RunFlops:
    setup = setup_of(manifest, teacher, task, **changes)
    teachers = {} if teacher is None else dict.fromkeys(setup.config.teachers, teacher.config)
    return run_flops(setup, student=student.config, teachers=teachers)


def full_batch(model_type: str, task: TaskName) -> Batch:
    """Return what the mean micro-batch of the fixture's data is."""
    places = {
        "masked_lm": range(0, ROWS * LENGTH, 3),
        "causal_lm": [p for p in range(ROWS * LENGTH) if (p + 1) % LENGTH],
        "sequence_classification": [
            LENGTH * row + (LENGTH - 1) * (FAMILIES[model_type].summary == "last")
            for row in range(ROWS)
        ],
        "token_classification": range(ROWS * LENGTH),
    }[task]
    positions = list(places)[: round(0.3 * ROWS * LENGTH)] if task == "masked_lm" else places
    return Batch(
        input_ids_BL=torch.randint(5, VOCAB_SIZE, (ROWS, LENGTH)),
        attention_mask_BL=None,
        token_type_ids_BL=torch.zeros(ROWS, LENGTH, dtype=torch.int64),
        positions_P=torch.tensor(positions),
        labels_P=torch.zeros(len(positions), dtype=torch.int64),
        languages_B=torch.zeros(ROWS, dtype=torch.int64),
        row_ids_B=torch.arange(ROWS),
        epochs_B=torch.zeros(ROWS, dtype=torch.int64),
        num_tokens=ROWS * LENGTH,
    )


def counted(model_config: Any, task: TaskName, *, freeze: tuple[str, ...] = ()) -> tuple[int, int]:
    """Count what a model with weights computes: forward, and forward with backward."""
    model_config._attn_implementation = "eager"
    model = scored(build_model(model_config, task), task)
    model.freeze(parse_frozen(freeze))
    with FlopCounterMode(display=False) as counter:
        loss = model(full_batch(model_config.model_type, task)).logits_PK.sum()
        forward = counter.get_total_flops()
        loss.backward()
    return forward, counter.get_total_flops()


def with_hidden(states: dict[int, torch.Tensor]) -> ModelOutputs:
    nothing = torch.zeros(0, 1)
    return ModelOutputs(
        hidden_PD=nothing, scores=DenseScores(logits_PK=nothing), hidden_states_TD=states
    )


@pytest.mark.parametrize(("model_type", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_the_count_is_what_training_computes(
    manifest: Manifest, model_type: str, task: TaskName
) -> None:
    model = plan(model_type, task)
    found = flops(manifest, model, model, task=task)
    forward, both = counted(model.config, task)
    assert found.student_per_token * ROWS * LENGTH == pytest.approx(both, rel=1e-12)
    assert found.teachers_per_token * ROWS * LENGTH == pytest.approx(forward, rel=1e-12)


@pytest.mark.parametrize(
    "freeze", [["embeddings", "layers below 1"], ["layers below 1"], ["head"]]
)
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "modernbert"])
def test_a_frozen_part_is_counted_as_it_trains(
    manifest: Manifest, model_type: str, freeze: list[str]
) -> None:
    task: TaskName = "token_classification"
    model = plan(model_type, task)
    found = flops(manifest, model, task=task, student__freeze=freeze)
    _, both = counted(model.config, task, freeze=tuple(freeze))
    assert found.student_per_token * ROWS * LENGTH == pytest.approx(both, rel=1e-12)
    assert found.student_per_token < flops(manifest, model, task=task).student_per_token


def test_a_linear_probe_by_hand(manifest: Manifest) -> None:
    model = plan("bert", "token_classification")
    layer = 2 * 4 * WIDTH**2 + 2 * 2 * WIDTH * INNER + 2 * 2 * LENGTH * WIDTH
    head = 2 * WIDTH * len(LABELS)
    found = flops(manifest, model, task="token_classification", student__freeze=["encoder"])
    assert found.total_per_token == pytest.approx(LAYERS * layer + 2 * head)


def test_relative_positions_are_read_once_for_all_rows(manifest: Manifest) -> None:
    model = plan("deberta-v2", "masked_lm", settings=DEBERTA_AS_PUBLISHED)
    found = flops(manifest, model)
    _, both = counted(model.config, "masked_lm")
    assert found.student_per_token * ROWS * LENGTH == pytest.approx(both, rel=1e-12)
    assert flops(manifest, model, train__micro_batch_size=1).total_per_token > (
        found.total_per_token
    )


def test_a_bert_by_hand(manifest: Manifest) -> None:
    model = plan("bert", "masked_lm")
    layer = 2 * 4 * WIDTH**2 + 2 * 2 * WIDTH * INNER + 2 * 2 * LENGTH * WIDTH
    head = 2 * WIDTH**2 + 2 * WIDTH * VOCAB_SIZE
    forward = LAYERS * layer + 0.3 * head
    found = flops(manifest, model, model)
    assert found.teachers_per_token == pytest.approx(forward)
    assert found.student_per_token == pytest.approx(3 * forward)
    assert found.total_per_token == pytest.approx(4 * forward)
    assert found.teacher_share == pytest.approx(1 / 4)


def test_a_llama_with_shared_keys_by_hand(manifest: Manifest) -> None:
    model = plan("llama", "causal_lm", settings={"num_key_value_heads": 2})
    layer = (2 + 1) * 2 * WIDTH**2 + 3 * 2 * WIDTH * INNER + 2 * 2 * LENGTH * WIDTH
    forward = LAYERS * layer + (1 - 1 / LENGTH) * 2 * WIDTH * VOCAB_SIZE
    found = flops(manifest, model, model, task="causal_lm")
    assert found.teachers_per_token == pytest.approx(forward)
    assert found.student_per_token == pytest.approx(3 * forward)


def test_a_teacher_whose_outputs_are_kept_costs_its_head_in_a_run_and_all_of_it_once(
    manifest: Manifest,
) -> None:
    model = plan("bert", "masked_lm")
    changes: dict[str, Any] = {
        "data__eval_split": None,
        "train__num_steps": 3,
        "train__global_batch_size": ROWS,
    }
    live = flops(manifest, model, model, **changes)
    cached = {"big": {"model": "nowhere", "cache": {}}}
    kept = flops(manifest, model, model, teachers=cached, **changes)
    head = 2 * WIDTH**2 + 2 * WIDTH * VOCAB_SIZE
    assert kept.teachers_per_token == pytest.approx(0.3 * head)
    assert kept.student_per_token == live.student_per_token
    sparse = {"big": {"model": "nowhere", "cache": {"mode": "top_k"}}}
    assert flops(manifest, model, model, teachers=sparse, **changes).teachers_per_token == 0
    # Each row is masked in another way in each of the three epochs.
    whole = 3 * ROWS * LENGTH * live.teachers_per_token
    configs = {"big": model.config}
    of_cached = setup_of(manifest, model, teachers=cached, **changes)
    assert cache_flops(of_cached, configs) == {"big": pytest.approx(whole)}
    assert cache_flops(setup_of(manifest, model, **changes), configs) == {}


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_six_operations_for_each_parameter_and_token(manifest: Manifest, model_type: str) -> None:
    model = plan(model_type, "causal_lm", hidden_size=2048, intermediate_size=8192)
    found = flops(manifest, model, task="causal_lm")
    assert found.student_per_token == pytest.approx(6 * model.parameters.layers, rel=0.02)


def test_a_model_larger_than_memory_is_counted(manifest: Manifest) -> None:
    model = plan("llama", "causal_lm", hidden_size=2**15, num_heads=64, intermediate_size=2**17)
    found = flops(manifest, model, task="causal_lm")
    assert model.parameters.total > 30e9
    assert found.student_per_token == pytest.approx(6 * model.parameters.layers, rel=0.02)


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ({"forward_kl": {"weight": "0"}, "cross_entropy": {}}, 0.0),
        ({"hidden_states": {"weight": "0"}, "cross_entropy": {}}, 0.0),
        ({"forward_kl": {"weight": "0 -> 1"}}, 1.0),
        ({"attention_relations": {}}, 1.0),
        ({"forward_kl": {"weight": "1 @ 0.25 -> 0 @ 0.25"}, "cross_entropy": {}}, 0.25),
        (
            {
                "attention_relations": {"weight": "1 @ 0.5 -> 0 @ 0.5"},
                "forward_kl": {"weight": "0 @ 0.5 -> 1 @ 0.5"},
            },
            1.0,
        ),
    ],
)
def test_teachers_cost_what_the_steps_cost_in_which_a_loss_needs_them(
    manifest: Manifest, losses: dict[str, Any], share: float
) -> None:
    student, teacher = plan("bert", "masked_lm"), plan("bert", "masked_lm", num_layers=6)
    whole = flops(manifest, student, teacher)
    found = flops(manifest, student, teacher, losses=losses)
    assert found.teachers_per_token == pytest.approx(share * whole.teachers_per_token)
    assert found.student_per_token == whole.student_per_token
    if share == 0:
        assert found.teacher_share == 0


def test_maps_between_hidden_states_are_counted_as_they_run(manifest: Manifest) -> None:
    student, teacher = plan("bert", "masked_lm"), plan("bert", "masked_lm", hidden_size=64)
    sections = {"hidden_states": {"pattern": "even"}}
    config = small_run(Path("nowhere"), teachers={"big": {"model": "nowhere"}}, losses=sections)
    term = check_layer_terms(config, student=student.config, teachers={"big": teacher.config})[0]
    hidden = {
        width: {n: torch.randn(LENGTH, width, requires_grad=True) for n in range(LAYERS + 1)}
        for width in (WIDTH, 64)
    }
    batch = full_batch("bert", "masked_lm")
    outputs = [with_hidden(states) for states in hidden.values()]
    with FlopCounterMode(display=False) as counter:
        term.per_token(outputs[0], outputs[1], batch).sum().backward()
    added = flops(manifest, student, teacher, losses=sections).teachers_per_token - (
        flops(manifest, student, teacher).teachers_per_token
    )
    assert added * LENGTH == pytest.approx(counter.get_total_flops())


LANGUAGES = {"de": (30, 8), "en": (10, 24)}
"""Rows and their length: 240 tokens each, in rows of 12 tokens on average."""


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"teachers": {"a": {"model": "nowhere", "languages": ["de"]}}}, 1 / 2),
        ({"data__mixing": {"fixed": {"weights": {"de": 3, "en": 1}}}}, 1.0),
        (
            {
                "teachers": {"a": {"model": "nowhere", "languages": ["en"]}},
                "data__mixing": {"fixed": {"weights": {"de": 1, "en": 1}}},
            },
            24 / 32,
        ),
        (
            {
                "teachers": {"a": {"model": "nowhere"}, "b": {"model": "nowhere"}},
                "teacher_weights": {"by_language": {"teachers": {"de": "a", "en": "b"}}},
            },
            1.0,
        ),
        (
            {
                "teachers": {"a": {"model": "nowhere"}, "b": {"model": "nowhere"}},
                "teacher_weights": {"fixed": {"weights": {"a": 1, "b": 0}}},
            },
            1.0,
        ),
        ({"teachers": {"a": {"model": "nowhere"}, "b": {"model": "nowhere"}}}, 2.0),
    ],
)
def test_a_teacher_costs_nothing_for_rows_it_is_not_asked_about(
    manifest: Manifest, changes: dict[str, Any], share: float
) -> None:
    model, data = plan("bert", "masked_lm"), with_shards(manifest, LANGUAGES)
    found = flops(data, model, model, **changes)
    assert found.teachers_per_token == pytest.approx(share * found.student_per_token / 3)


def test_rows_are_as_long_as_the_mixture_makes_them(manifest: Manifest) -> None:
    model, data = plan("bert", "masked_lm"), with_shards(manifest, LANGUAGES)

    def length(**changes: Any) -> float:
        per_token = flops(data, model, **changes).student_per_token / 3
        at_length_0 = flops(manifest, model).student_per_token / 3 - LENGTH * 4 * WIDTH * LAYERS
        return (per_token - at_length_0) / (4 * WIDTH * LAYERS)

    assert length() == pytest.approx(12)
    assert length(data__languages=["en"]) == pytest.approx(24)
    even = {"fixed": {"weights": {"de": 1, "en": 1}}}
    assert length(data__mixing=even) == pytest.approx(16)


def test_a_head_for_every_language_costs_one(manifest: Manifest) -> None:
    model, data = plan("bert", "sequence_classification"), with_shards(manifest, LANGUAGES)
    shared, own = (
        flops(data, model, task="sequence_classification", student__projections=projections)
        for projections in ("shared", "per_language")
    )
    assert shared == own


def test_half_precision_in_the_configuration_changes_nothing(manifest: Manifest) -> None:
    sizes: dict[str, Any] = {"hidden_size": 40, "num_heads": 4}
    model = plan("bert", "masked_lm", **sizes)
    model.config.dtype = torch.bfloat16
    layer = 2 * 4 * 40**2 + 2 * 2 * 40 * INNER + 2 * 2 * LENGTH * 40
    head = 2 * 40**2 + 2 * 40 * VOCAB_SIZE
    expected = 3 * (LAYERS * layer + 0.3 * head)
    assert flops(manifest, model).student_per_token == pytest.approx(expected)
