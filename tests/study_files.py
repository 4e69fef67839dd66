"""A study of every part: encoder, teacher of two qualities, starts, losses, tuning and probes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raykd.config.load import load_sweep
from raykd.config.schema.sweep import SweepConfig
from raykd.config.yaml_text import write_yaml

from tests.small_runs import TINY_BERT, small_data

_ENCODER = {"student.pretrained": "stage:encoder", "student.architecture": None}

STUDY: dict[str, Any] = {
    "name": "study",
    "base": "student.yaml",
    "stages": {"encoder": {"run": "encoder.yaml", "milestones": [0.5, 1]}},
    "teachers": {
        "tuned": {"run": "classifier.yaml", "overrides": _ENCODER, "milestones": [0.5, 1]}
    },
    "pairs": {
        "start": {
            "random": {"student.init": None},
            "embeddings": {
                "student.init": {
                    "copy_layers": {"source": "stage:encoder", "parts": ["embeddings"]}
                }
            },
            "base": {"student.init": {"copy_layers": {"source": "stage:encoder"}}},
            "tuned": {"student.init": {"copy_layers": {}}},
        }
    },
    "search": {"losses.logit_mse.weight": {"grid": [1]}},
    "probes": {
        "topics": {"run": "classifier.yaml", "overrides": {"name": "topics"}, "at": [0.1, 1]},
        "tags": {"run": "tagger.yaml", "at": [0.1, 1], "metric": "eval/macro_f1", "floor": 0.1},
    },
    "seeds": [1, 2],
    "metric": "probe/mean",
    "mode": "max",
}
"""Four starts of a student, each with the loss of a teacher and without, both probed twice."""


def write_study(directory: Path, **changes: Any) -> Path:
    """Write the files of the study beside its data; return the path of its own.

    Args:
        directory: Where all of it lies.
        changes: Keys of the study that take the place of what is in ``STUDY``.
    """
    if not (directory / "data").exists():
        small_data(directory / "data")
    small = {**TINY_BERT, "num_layers": 1}
    _write(directory, "encoder", task="masked_lm", student=TINY_BERT)
    _write(directory, "classifier", task="sequence_classification")
    _write(directory, "tagger", task="token_classification")
    _write(
        directory,
        "student",
        task="sequence_classification",
        student=small,
        losses={"cross_entropy": {}, "logit_mse": {}},
        teachers={"teacher": {"model": "not-there"}},
    )
    places = {"output_uri": str(directory / "sweeps"), "runs_uri": str(directory / "runs")}
    path = directory / "study.yaml"
    path.write_text(write_yaml({**STUDY, **places, **changes}))
    return path


def study_in(directory: Path, **changes: Any) -> SweepConfig:
    """Return the study, read from its own file."""
    return load_sweep(write_study(directory, **changes))


def _write(
    directory: Path, name: str, *, student: Mapping[str, Any] | None = None, **sections: Any
) -> None:
    run = {
        "name": name,
        "data": {"uri": str(directory / "data")},
        "student": {} if student is None else {"architecture": dict(student)},
        "losses": {"cross_entropy": {}},
        "train": {
            "num_steps": 10,
            "global_batch_size": 8,
            "micro_batch_size": 8,
            "eval_every_steps": 5,
        },
        "cluster": {"num_workers": 0},
        **sections,
    }
    (directory / f"{name}.yaml").write_text(write_yaml(run))
