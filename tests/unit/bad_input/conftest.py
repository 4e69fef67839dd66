"""A place where everything is right, so that one thing at a time can be made wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pytest
import torch
from raykd.config.schema.model import ArchitectureConfig
from raykd.config.yaml_text import write_yaml
from raykd.models.build import Vocabulary, build_config, build_model
from raykd.models.load import save_model

from tests.prepared import VOCAB_SIZE, word_tokenizer
from tests.small_runs import TINY_BERT, small_data

_RUN: dict[str, Any] = {
    "name": "small",
    "task": "masked_lm",
    "output_uri": "runs",
    "data": {"uri": "data", "num_lanes": 2},
    "student": {"architecture": dict(TINY_BERT)},
    "losses": {"cross_entropy": {}},
    "train": {"num_steps": 2, "global_batch_size": 4, "micro_batch_size": 4},
    "cluster": {"num_workers": 0},
}
_DISTILLED = _RUN | {"teachers": {"big": {"model": "teacher"}}, "losses": {"forward_kl": {}}}
_SWEEP = {
    "name": "study",
    "base": "kd.yaml",
    "output_uri": "sweeps",
    "teachers": {"big": {"model": "teacher"}},
    "search": {"losses.forward_kl.weight": {"grid": ["1", "2"]}},
}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with data, a model, texts, a run, a distillation and a sweep."""
    root = tmp_path_factory.mktemp("pristine")
    small_data(root / "data")
    vocabulary = Vocabulary(size=VOCAB_SIZE, pad_id=0, max_length=16, labels=None)
    architecture = ArchitectureConfig(**TINY_BERT)  # type: ignore[arg-type]  # several types
    torch.manual_seed(0)
    config = build_config(architecture, like=None, vocabulary=vocabulary)
    save_model(build_model(config, "masked_lm"), root / "teacher")
    word_tokenizer().save_pretrained(root / "teacher")
    for name, given in (("run", _RUN), ("kd", _DISTILLED), ("sweep", _SWEEP)):
        (root / f"{name}.yaml").write_text(write_yaml(given))
    texts = [{"text": f"the word {i} and {i % 7}", "label": i % 3} for i in range(40)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    return root


@pytest.fixture
def place(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the directory, which is the working directory; the Hub is out of reach."""
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    return tmp_path
