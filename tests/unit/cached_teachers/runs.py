"""Small runs with a teacher that is read from a cache."""

from pathlib import Path
from typing import Any

from raykd.config.schema.run import RunConfig
from raykd.models.load import save_model

from tests.small_runs import small_run
from tests.tiny_models import tiny_model


def distilled(directory: Path, cache: dict[str, Any] | None, **changes: Any) -> RunConfig:
    """Return a run with a teacher of random weights of its own task."""
    task = changes.get("task", "masked_lm")
    where = directory / f"teacher-{task}"
    if not where.exists():
        model = tiny_model(
            "bert", task, hidden_size=16, num_heads=2, intermediate_size=32, num_layers=3
        )
        if task == "token_classification":
            model.config.id2label = {0: "O", 1: "B-X", 2: "I-X"}
        save_model(model, where)
    given = {
        "teachers": {"big": {"model": str(where), "cache": cache}},
        "losses": {"cross_entropy": {}, "forward_kl": {"temperature": "2"}, "reverse_kl": {}},
    }
    return small_run(directory, **(given | changes))
