"""Frozen parts stay what they are, cost no gradient, and all else trains as ever."""

from pathlib import Path
from typing import Any

import pytest
import torch
from raykd.batch import LayersWanted
from raykd.config.frozen import parse_frozen
from raykd.config.schema.run import TaskName
from raykd.config.schema.train import OptimizerConfig
from raykd.distill.assemble import assemble
from raykd.distill.optimizer import build_optimizer
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.models.build import count_parameters
from raykd.models.families import FAMILIES
from raykd.models.files import PROJECTIONS_FILE, WEIGHTS_FILE
from raykd.models.parts import num_parameters
from raykd.models.scored import ScoredModel
from raykd.runs.checkpoint import checkpoint_name
from raykd.runs.metrics import BEST_STEP
from raykd.runs.paths import RunPaths, run_paths
from safetensors.torch import load_file

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import FAMILY_IDS, FAMILY_TASKS, padded_batch, scored, tiny_model
from tests.unit.distill.test_passes import kept_for_backward
from tests.unit.runs.test_snapshot import take_steps
from tests.unit.train.test_run import assert_equal_runs, stop_after
from tests.unit.train.test_run import train as train_run

FREEZES = (["embeddings"], ["layers below 1"], ["encoder"], ["head"])


def dropping(model_type: str, task: TaskName) -> ScoredModel:
    """Return a model of three layers that is trained with dropout."""
    return scored(tiny_model(model_type, task, num_layers=3, dropout=0.3), task).train()


def expected(model: ScoredModel, names: list[str]) -> set[int]:
    """Return which parameters are frozen, told by where transformers has them."""
    plain: Any = model.model
    tables = plain.get_input_embeddings().weight
    in_layers = {id(p) for p in model.layers.parameters()}
    pooled = {id(p) for n, p in plain.named_parameters() if "bert.pooler" in n}
    body = {id(p) for p in plain.base_model.parameters()} - pooled
    found: set[int] = set()
    for name in names:
        match name.split():
            case ["encoder"]:
                found |= body
            case ["head"]:
                found |= {id(p) for p in plain.parameters()} - body
            case ["embeddings"]:
                modules = FAMILIES[plain.config.model_type].embeddings
                bodies = (plain.base_model.get_submodule(module) for module in modules)
                found |= {id(p) for module in bodies for p in module.parameters()}
                assert id(tables) in found
                assert not found & in_layers
            case ["layers", "below", count]:
                lowest = model.layers[: int(count)]
                found |= {id(p) for p in lowest.parameters()}
    return found


def train(model: ScoredModel, *, num_steps: int) -> torch.optim.Optimizer:
    family = FAMILIES[model.model.config.model_type]
    task: TaskName = "sequence_classification" if model._classifies_examples else "masked_lm"
    batch = padded_batch(task, summary=family.summary)
    optimizer = build_optimizer(model, OptimizerConfig(learning_rate=1e-2))
    for _ in range(num_steps):
        loss = torch.nn.functional.cross_entropy(model(batch).logits_PK, batch.labels_P)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


@pytest.mark.parametrize("names", FREEZES, ids=", ".join)
@pytest.mark.parametrize(("model_type", "task"), FAMILY_TASKS, ids=FAMILY_IDS)
def test_frozen_tensors_keep_their_bits_and_all_others_change(
    model_type: str, task: TaskName, names: list[str]
) -> None:
    model = dropping(model_type, task)
    frozen = parse_frozen(names)
    held = expected(model, names)
    parameters = dict(model.named_parameters())
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    model.freeze(frozen)
    counted = count_parameters(model.model.config, task, without=frozen)
    trained = [p for p in parameters.values() if id(p) not in held]
    assert counted == num_parameters(model.model, without=frozen)
    assert counted.total == sum(p.numel() for p in trained)
    if not trained:
        assert names == ["encoder"]
        assert model.model.config.tie_word_embeddings
        return
    optimizer = train(model, num_steps=2)
    for name, parameter in parameters.items():
        assert parameter.requires_grad == (id(parameter) not in held), name
        assert torch.equal(parameter, before[name]) == (id(parameter) in held), name
    assert {id(p) for p in optimizer.state} == {id(p) for p in trained}


def seen(model: ScoredModel, task: TaskName, seed: int) -> dict[int, torch.Tensor]:
    """Return the hidden states of a model in training, with the dropout of a seed."""
    torch.manual_seed(seed)
    batch = padded_batch(task, summary=FAMILIES[model.model.config.model_type].summary)
    return dict(model(batch, LayersWanted(hidden=(0, 1, 2, 3))).hidden_states_TD)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("names", "num_still"),
    [(["embeddings"], 1), (["embeddings", "layers below 2"], 3), (["encoder"], 4)],
)
def test_frozen_parts_below_all_others_have_neither_dropout_nor_a_graph(
    family: str, names: list[str], num_still: int
) -> None:
    task: TaskName = "token_classification"
    model = dropping(family, task)
    model.freeze(parse_frozen(names))
    # As after an evaluation.
    model.eval().train()
    one, other = (seen(model, task, seed) for seed in (0, 1))
    assert [n for n in one if torch.equal(one[n], other[n])] == list(range(num_still))
    assert [n for n in one if not one[n].requires_grad] == list(range(num_still))
    model.eval()
    assert all(torch.equal(one[n], seen(model, task, 0)[n]) for n in range(num_still))


def test_a_linear_probe_keeps_no_activations_of_the_encoder() -> None:
    batch = padded_batch("token_classification")
    kept = []
    for names in ([], ["embeddings", "layers below 2"], ["encoder"]):
        model = dropping("bert", "token_classification")
        model.freeze(parse_frozen(names))
        with kept_for_backward() as sizes:
            model(batch)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
    # Hidden states of the 7 scored positions, and where dropout hides them; the classifier.
    assert kept[2] <= 4 * (3 * 7 * 32 + 3 * 32)


def test_what_is_frozen_changes_no_gradient_of_anything_else() -> None:
    batch = padded_batch("token_classification")
    gradients = []
    for names in ([], ["layers below 1"], ["head"]):
        model = scored(tiny_model("bert", "token_classification"), "token_classification").eval()
        model.freeze(parse_frozen(names))
        model(batch).logits_PK.square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[1].keys() | gradients[2].keys() == gradients[0].keys()
    for some in gradients[1:]:
        assert len(some) < len(gradients[0])
        assert all(torch.equal(gradient, gradients[0][name]) for name, gradient in some.items())


@pytest.mark.parametrize(
    "names", [["encoder"], ["head"], ["embeddings", "layers below 1"]], ids=", ".join
)
def test_every_language_has_its_head_trained_or_none(tmp_path: Path, names: list[str]) -> None:
    small_data(tmp_path / "data")
    student = {"architecture": TINY_BERT, "projections": "per_language", "freeze": names}
    config = small_run(tmp_path, task="sequence_classification", student=student)
    run = assemble(read_setup(config), world=World())
    before = {name: p.detach().clone() for name, p in run.student.named_parameters()}
    take_steps(run, 2)
    same = {n for n, p in run.student.named_parameters() if torch.equal(p, before[n])}
    heads = {name for name in before if "pooler" in name or "classifier" in name}
    assert sum(name.startswith("model.heads.of_en") for name in heads) == 4
    match names:
        case ["encoder"]:
            assert same == before.keys() - heads
        case ["head"]:
            assert same == heads
        case _:
            assert same == {n for n in before if ".embeddings." in n or ".layer.0." in n}


@pytest.mark.parametrize("names", [["encoder"], ["embeddings", "layers below 1"]], ids=", ".join)
def test_a_stopped_run_goes_on_with_its_parts_frozen(tmp_path: Path, names: list[str]) -> None:
    small_data(tmp_path / "data")
    student = {"architecture": TINY_BERT | {"dropout": 0.2}, "freeze": names}
    smooth = small_run(tmp_path, student=student, output_uri=str(tmp_path / "smooth"))
    bumpy = small_run(tmp_path, student=student, train__activation_checkpointing=True)
    start = assemble(read_setup(smooth), world=World()).student.model.state_dict()
    assert train_run(smooth).is_done
    for steps in (1, 3):
        assert not train_run(bumpy, should_stop=stop_after(steps)).is_done
    assert train_run(bumpy).is_done
    assert_equal_runs(smooth, bumpy)
    paths = run_paths(bumpy)
    end = load_file(Path(paths.model, "model.safetensors"))
    is_frozen = {name: is_still(name, names) for name in end}
    assert {name for name in end if torch.equal(end[name], start[name])} == {
        name for name in end if is_frozen[name]
    }
    moments = moments_of(paths, 4)
    assert {name.removeprefix("model.") for name in moments} == {
        name for name in end if not is_frozen[name]
    }


def test_the_best_heads_over_a_frozen_encoder_are_exported(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    student = {"architecture": TINY_BERT, "projections": "per_language", "freeze": ["encoder"]}
    config = small_run(
        tmp_path,
        task="sequence_classification",
        student=student,
        train__keep="best",
        train__eval_every_steps=1,
        optimizer={"learning_rate": 0.5, "schedule": "constant"},
    )
    start = assemble(read_setup(config), world=World()).student.model.model.state_dict()
    result, paths = train_run(config), run_paths(config)
    step = int(result.metrics[BEST_STEP])
    assert step < 6
    best = Path(paths.checkpoints, checkpoint_name(step), "student")
    for name in (WEIGHTS_FILE, PROJECTIONS_FILE):
        end = load_file(Path(paths.model, name))
        kept = load_file(best / name)
        assert end.keys() == kept.keys()
        assert all(torch.equal(end[tensor], kept[tensor]) for tensor in end)
    end = load_file(Path(paths.model, WEIGHTS_FILE))
    assert [name for name in end if ".layer." in name]
    assert all(torch.equal(end[name], start[name]) for name in end if ".layer." in name)


def is_still(name: str, names: list[str]) -> bool:
    if names == ["encoder"]:
        return name.startswith("bert.")
    return name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))


def moments_of(paths: RunPaths, step: int) -> set[str]:
    file = Path(
        paths.checkpoints, checkpoint_name(step), "optimizer", "adamw-00001-of-00001.safetensors"
    )
    return {name.rpartition("/")[0] for name in load_file(file)}
