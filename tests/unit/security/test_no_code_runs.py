"""Nothing that raykd reads runs code: no pickles, no code of models, no YAML tags."""

import ast
import json
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pytest
import torch
from raykd.cli.main import main as raykd
from raykd.config.load import load_run
from raykd.data.tokenizers import load_tokenizer
from raykd.errors import CheckpointError, ConfigError, DataError, ModelError
from raykd.models.load import load_config, load_model, load_weights, save_model

from tests.prepared import word_tokenizer
from tests.tiny_models import tiny_model
from tests.unit.security.code_that_runs import Bomb, touching

RAYKD = Path(__file__).parents[3] / "raykd"

UNSAFE_CALLS = {
    "__import__",
    "compile",
    "eval",
    "exec",
    "import_module",
    "load_source",
    "os.popen",
    "os.system",
    "subprocess.Popen",
    "subprocess.run",
    "torch.hub.load",
    "torch.load",
    "torch.jit.load",
    "yaml.load",
    "extractall",
    "unpack_archive",
}
LOADS_ANY_CLASS = re.compile(r"(Auto\w+|AUTO_CLASSES\[\w+\])\.from_pretrained")
UNSAFE_MODULES = {
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
    "tarfile",
    "yaml",
}
OWN_ROUND_TRIP = {"tune/adapters.py": {"cloudpickle"}, "tune/training.py": {"pickle"}}
"""Errors on their way between processes of one sweep; neither file reads what others wrote."""

OWN_PROGRAMS = {("jobs/head.py", "subprocess.run"), ("jobs/package.py", "subprocess.run")}
"""Git and Ray by their names, without a shell: they are given paths, never what was read."""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Return the file that appears where a payload runs."""
    return tmp_path / "it-ran"


@pytest.fixture
def model_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    save_model(tiny_model("bert", "masked_lm"), directory)
    return directory


def sources() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(RAYKD.rglob("*.py")):
        yield path.relative_to(RAYKD).as_posix(), ast.parse(path.read_text("utf-8"))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def imported(tree: ast.AST) -> set[str]:
    """Return every top package that is imported, and what is taken from any."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return {name.split(".")[0] for name in names}


def test_no_module_calls_what_runs_code() -> None:
    found = [
        (file, call.lineno, name)
        for file, tree in sources()
        for call in calls(tree)
        for name in [ast.unparse(call.func)]
        if name in UNSAFE_CALLS or name.rpartition(".")[2] in {"extractall", "unpack_archive"}
        if (file, name) not in OWN_PROGRAMS
    ]
    assert found == []


def test_no_call_allows_pickles_or_code_of_models() -> None:
    found = [
        (file, call.lineno, keyword.arg)
        for file, tree in sources()
        for call in calls(tree)
        for keyword in call.keywords
        if keyword.arg in {"allow_pickle", "trust_remote_code", "use_auth_token", "weights_only"}
        and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
    ]
    assert found == []


def test_every_model_that_transformers_loads_is_loaded_without_its_code() -> None:
    loads = [
        (file, call.lineno, {keyword.arg for keyword in call.keywords})
        for file, tree in sources()
        for call in calls(tree)
        if LOADS_ANY_CLASS.fullmatch(ast.unparse(call.func))
    ]
    assert loads
    assert [load for load in loads if "trust_remote_code" not in load[2]] == []


def test_pickles_are_only_what_a_sweep_tells_itself() -> None:
    found = {file: imported(tree) & UNSAFE_MODULES for file, tree in sources()}
    assert {file: names for file, names in found.items() if names} == OWN_ROUND_TRIP


def test_the_payloads_of_these_tests_do_run(mark: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301  our own
    assert mark.exists()
    mark.unlink()
    exec(touching(mark))  # noqa: S102  our own
    assert mark.exists()


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors"]
)
def test_pickled_weights_are_refused_and_do_not_run(
    name: str, model_directory: Path, mark: Path
) -> None:
    (model_directory / "model.safetensors").unlink()
    weights = model_directory / "pytorch_model.bin"
    torch.save({"bert": Bomb(mark)}, weights)
    if name.endswith(".json"):
        (model_directory / name).write_text(json.dumps({"weight_map": {"bert": weights.name}}))
    else:
        weights.rename(model_directory / name)
    with pytest.raises(ModelError, match=r"safetensors"):
        load_model(str(model_directory), "masked_lm", labels=None)
    assert not mark.exists()


def test_a_checkpoint_with_pickled_weights_does_not_run(model_directory: Path, mark: Path) -> None:
    torch.save({"bert": Bomb(mark)}, model_directory / "model.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(tiny_model("bert", "masked_lm"), model_directory)
    assert not mark.exists()


@pytest.mark.parametrize("model_type", ["bert", "own"])
def test_a_model_with_code_of_its_own_is_refused_and_its_code_does_not_run(
    model_type: str, model_directory: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(model_directory.parent / "modules"))
    file = model_directory / "config.json"
    auto_map = {"AutoConfig": "own.OwnConfig", "AutoModelForMaskedLM": "own.OwnModel"}
    given = json.loads(file.read_text()) | {"model_type": model_type, "auto_map": auto_map}
    file.write_text(json.dumps(given))
    (model_directory / "own.py").write_text(touching(mark))
    for attempt in (load_config, lambda uri: load_model(uri, "masked_lm", labels=None)):
        with pytest.raises(ModelError, match="code of its own"):
            attempt(str(model_directory))
    assert not mark.exists()


def test_a_tokenizer_with_code_of_its_own_does_not_run_it(tmp_path: Path, mark: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    (tmp_path / "own.py").write_text(touching(mark))
    # Refused, or read by the library's own code.
    with suppress(DataError):
        load_tokenizer(str(tmp_path))
    assert not mark.exists()


def test_an_arrow_column_of_a_pickled_type_does_not_run(tmp_path: Path, mark: Path) -> None:
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Bomb(mark)),
    }
    schema = pa.schema([pa.field("text", pa.string(), metadata=extension)])
    table = pa.table({"text": [f"word number {index}" for index in range(40)]}, schema=schema)
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as w:
        w.write_table(table)
    output = str(tmp_path / "out")
    arguments = ["--output", output, "--validation-fraction", "0.2", "--vocab-size", "300"]
    status = raykd(["prepare", str(tmp_path / "rows.arrow"), "--num-processes", "1", *arguments])
    assert status in (0, 2)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:pathlib.Path.touch [MARK]",
        "name: !!python/object/new:pathlib.Path [MARK]",
        "!!python/object/apply:os.system ['touch MARK']",
        "name: ${oc.env:HOME}",
    ],
)
def test_yaml_tags_and_interpolations_do_nothing(text: str, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text.replace("MARK", str(mark)))
    with pytest.raises(ConfigError):
        load_run(path)
    assert not mark.exists()
