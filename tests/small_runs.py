"""Runs small enough for a test: tiny models on tiny data, everything else as users have it."""

from pathlib import Path
from typing import Any

from raykd.config.load import checked_run
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest

from tests.prepared import write_prepared

TINY_BERT = {
    "model_type": "bert",
    "num_layers": 2,
    "hidden_size": 16,
    "num_heads": 2,
    "intermediate_size": 32,
    "dropout": 0.0,
}
TINY_LLAMA = TINY_BERT | {"model_type": "llama"}


def small_data(
    path: Path, *, word_labels: tuple[str, ...] = ("O", "B-X", "I-X"), seed: int = 0
) -> Manifest:
    """Publish a data set of 90 rows in two languages, with 21 rows to evaluate on."""
    return write_prepared(
        path,
        {
            "train": {"de": [9, 6, 5], "en": [10] * 7},
            "validation": {"de": [6, 2], "en": [9, 4]},
        },
        labels=("a", "b", "c"),
        word_labels=word_labels,
        seed=seed,
    )


def number_data(path: Path) -> Manifest:
    """Publish rows in two languages whose labels are numbers, with 21 rows to evaluate on."""
    return write_prepared(
        path,
        {
            "train": {"de": [9, 6, 5], "en": [10] * 7},
            "validation": {"de": [6, 2], "en": [9, 4]},
        },
        labels=NUMBER,
    )


def small_run(directory: Path, **changes: Any) -> RunConfig:
    """Return a run in this process, with whole sections replaced or extended by ``changes``.

    A change is written with double underscores for dots: ``train__num_steps=3``.
    """
    given: dict[str, Any] = {
        "name": "small",
        "task": "masked_lm",
        "output_uri": str(directory / "runs"),
        "data": {"uri": str(directory / "data"), "num_lanes": 6, "shuffle_window": 2},
        "student": {"architecture": dict(TINY_BERT)},
        "losses": {"cross_entropy": {}},
        "train": {
            "num_steps": 6,
            "global_batch_size": 8,
            "micro_batch_size": 3,
            "log_every_steps": 1,
            "eval_every_steps": 3,
        },
        "optimizer": {"learning_rate": 1e-2},
        "checkpoint": {"every_steps": 2},
        "cluster": {"num_workers": 0},
    }
    for key, value in changes.items():
        section = given
        *parents, last = key.split("__")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return checked_run(given, origin="small run")
