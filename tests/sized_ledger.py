"""A ledger of a study whose models are known: a teacher, a control and arms of two students."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raykd.sweep.ledger import Ledger
from raykd.sweep.model_size import ModelSize
from raykd.sweep.plan.model_sizes import model_size
from raykd.sweep.record import Record

from tests.sweeps import arm_and_control, ledger_of, stage_of, trial_of
from tests.tiny_models import tiny_model

WEIGHT = "losses.forward_kl.weight"

NUM_CORES = 2.0
ROW_TOKENS = 10


@functools.cache
def tiny_size(num_layers: int) -> ModelSize:
    """Return the size of a BERT of the tests."""
    return model_size(tiny_model("bert", "masked_lm", num_layers=num_layers).config, "masked_lm")


def sized(record: Record, **models: ModelSize) -> Record:
    """Return a run with models and resources; a teacher is given by its name in the run."""
    config: dict[str, Any] = {
        **record.config,
        # planned_tokens is 50 for each of the steps.
        "train": {"global_batch_size": 50 // ROW_TOKENS},
        "cluster": {"cpus_per_worker": NUM_CORES, "gpus_per_worker": 0.0},
    }
    keys = {"student": "student"}
    named = {keys.get(name, f"teachers.{name}"): size for name, size in models.items()}
    return replace(record, config=config, models=named)


def sized_ledger(uri: str = "sweeps/sized", *, runs_uri: str = "runs") -> Ledger:
    """Return a study of two seeds: a control, an arm with a teacher, and a smaller student.

    The control ends at 3.0 and 3.2, the arm at 2.0 and 2.2, the smaller student at 4.0.
    """
    stage = sized(stage_of("small", values=[3.0, 2.5]), student=tiny_size(1))
    big, teacher = tiny_size(3), tiny_size(1)
    *controls, first, second = arm_and_control(
        {"teacher": "small", WEIGHT: 1.0}, own=[2.0, 2.2], control=[3.0, 3.2]
    )
    records = [
        stage,
        *(sized(control, student=big) for control in controls),
        *(
            replace(sized(trial, student=big, only=teacher), needs=(stage.id,))
            for trial in (first, second)
        ),
        *(sized(_at({"student.layers": 2}, seed, 4.0), student=tiny_size(2)) for seed in (1, 2)),
    ]
    placed = [replace(record, run_uri=f"{runs_uri}/{record.id}") for record in records]
    return ledger_of(placed, uri=uri, name="sized")


def _at(coordinates: Mapping[str, Any], seed: int, value: float) -> Record:
    evaluations = ({"step": 100, "tokens": 5_000, "eval/loss": value},)
    return trial_of(coordinates, seed=seed, evaluations=evaluations, is_control=True)
