"""What is shipped is true: run files load, sweeps are ready, every key has an effect."""

import ast
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import raykd
from raykd.config.keys import ANY_NAME, key_docs
from raykd.config.load import load_run, load_sweep
from raykd.config.named_runs import named_runs
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.models.load import save_model
from raykd.sweep.plan.plan import plan_sweep

from tests.prepared import write_prepared
from tests.tiny_models import tiny_model

ROOT = Path(__file__).parents[3]
RUNS = sorted((ROOT / "configs" / "runs").glob("*.yaml"))
SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
PAPERS = sorted((ROOT / "configs" / "papers").rglob("*.yaml"))
CONFIGURATIONS = sorted((ROOT / "configs").rglob("*.yaml"))

SHORT = [
    *("train.num_steps=12", "train.num_epochs=null", "train.eval_every_steps=1"),
    *("seeds=[1]", "nodes={any: {cpus: 64, gpus: 8}}"),
]
"""Steps that the little data of a test is enough for, one seed, and room for all workers."""

MODELS = ("models/multilingual-e5-small", "FacebookAI/xlm-roberta-base")
"""Where a folder is, nobody looks on the Hub."""


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT / "configs"))


def test_there_are_run_files() -> None:
    assert {"demo_teacher.yaml", "demo_student.yaml"} <= {path.name for path in RUNS}


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_a_run_file_loads_under_its_own_name(path: Path) -> None:
    assert load_run(path).name == path.stem.replace("_", "-")


def test_there_are_sweep_files() -> None:
    assert {"demo.yaml", "weak_teacher.yaml", "amtss.yaml"} <= {path.name for path in SWEEPS}


@pytest.mark.parametrize("path", [*SWEEPS, *PAPERS], ids=shown)
def test_a_sweep_file_loads_under_its_own_name(path: Path) -> None:
    sweep = load_sweep(path)
    # A study of each paper is in all three folders, and all have a ledger in sweeps/.
    prefix = "paper-" if path in PAPERS else ""
    suffix = "-small" if path.parent.name == "small" else ""
    assert sweep.name == prefix + path.stem.replace("_", "-") + suffix
    for named in named_runs(sweep).values():
        assert Path(named.path).resolve() in RUNS


def test_every_configuration_has_one_line_in_the_list() -> None:
    lines = (ROOT / "configs" / "README.md").read_text().splitlines()
    folders = ("| runs/", "| sweeps/", "| papers/")
    listed = [line.split()[1] for line in lines if line.startswith(folders)]
    assert sorted(listed) == list(map(shown, CONFIGURATIONS))


def prepare_inputs(sweep: SweepConfig, directory: Path) -> None:
    """Write the data that a sweep's runs name, where they name them, but small."""
    runs = [run.mapping() for run in named_runs(sweep).values()]
    named = {
        name
        for run in runs
        for key in ("languages", "eval_languages")
        for name in run["data"].get(key) or ()
    }
    languages = {name: [320] for name in sorted(named or {"eng_Latn", "deu_Latn"})}
    labels_of = {
        run["data"]["uri"]: NUMBER if "squared_error" in run["losses"] else ("a", "b", "c")
        for run in runs
    }
    for uri, labels in labels_of.items():
        write_prepared(
            directory / uri,
            {"train": languages, "validation": languages, "test": languages},
            labels=labels,
            word_labels=("a", "b", "c"),
        )
    encoder = tiny_model(
        "bert",
        "masked_lm",
        num_layers=6,
        hidden_size=384,
        num_heads=12,
        intermediate_size=1536,
    )
    for name in MODELS:
        save_model(encoder, directory / name)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*SWEEPS, *PAPERS], ids=shown)
def test_a_sweep_is_ready_once_its_inputs_are_there(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_inputs(load_sweep(path), tmp_path)
    monkeypatch.chdir(tmp_path)
    plan = plan_sweep(load_sweep(path, SHORT))
    assert plan.problems == ()
    trials = {run.record.id: run.record for run in plan.trials}
    with_control = [trial for trial in trials.values() if trial.control is not None]
    assert all(trial.control in trials for trial in with_control)
    num_controls = sum(trial.is_control for trial in trials.values())
    assert 0 < num_controls < len(with_control) if plan.sweep.teachers else not with_control


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A key, the attribute it is, and how code names the section it is in."""

    key: str
    attribute: str
    section: frozenset[str]


def leaves(schema: type, key: str, section: str) -> Iterator[Leaf]:
    for name, hint in typing.get_type_hints(schema).items():
        inner = next(
            (c for c in [hint, *typing.get_args(hint)] if dataclasses.is_dataclass(c)), None
        )
        if isinstance(inner, type):
            yield from leaves(inner, f"{key}{name}.", name)
        else:
            yield Leaf(f"{key}{name}", name, frozenset({section, schema.__name__}))


LEAVES = list(leaves(RunConfig, "", "config"))


def names_in(source: str) -> set[str]:
    """Return every name, every attribute that is read, and arguments as ``function(name)``."""
    nodes: list[Any] = list(ast.walk(ast.parse(source)))
    functions = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
    arguments = {
        f"{name}({argument.arg})"
        for name, function in functions.items()
        for inner in _called(function, functions)
        for argument in inner.args.kwonlyargs
    }
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return (
        names
        | arguments
        | {
            node.attr
            for node in nodes
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        }
    )


def _called(
    function: ast.FunctionDef, functions: dict[str, ast.FunctionDef]
) -> Iterator[ast.FunctionDef]:
    """Yield a function, and what decorators of its module put around it."""
    yield function
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Name) and decorator.id in functions:
            yield from (n for n in functions[decorator.id].body if isinstance(n, ast.FunctionDef))


MODULES = [
    names_in(path.read_text())
    for path in Path(raykd.__path__[0]).rglob("*.py")
    if "config" not in path.relative_to(raykd.__path__[0]).parts
]


def is_read(leaf: Leaf) -> bool:
    """Tell whether one module reads the attribute and speaks of the section.

    The settings of a loss are the arguments of the function that has its name.
    """
    arguments = {f"{section}({leaf.attribute})" for section in leaf.section}
    return any(
        arguments & names or (leaf.attribute in names and leaf.section & names)
        for names in MODULES
    )


def test_the_leaves_are_those_that_explain_documents() -> None:
    documented = {d.key for d in key_docs() if "mapping to section" not in d.type_name}
    assert {
        leaf.key.replace("teachers.", f"teachers.{ANY_NAME}.") for leaf in LEAVES
    } <= documented


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.key)
def test_every_key_is_read_outside_the_schema(leaf: Leaf) -> None:
    assert is_read(leaf)


def test_a_key_that_nobody_reads_would_be_found() -> None:
    assert not is_read(Leaf("train.zeal", "zeal", frozenset({"train", "TrainConfig"})))
    assert not is_read(Leaf("tracking.seed", "seed", frozenset({"TrackingConfig"})))
