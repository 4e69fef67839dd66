"""torchdistill's box with its `KDLoss`, set up by its configuration as in its examples."""

import importlib
from typing import Any

import torch

from tests.bench.rivals.cases import LEARNING_RATE, Case, Material
from tests.bench.rivals.models import load_models
from tests.bench.rivals.rows import Row, RowSet, load_rows, padded
from tests.bench.rivals.watch import Watch


class WithIndex(torch.utils.data.Dataset[tuple[Row, torch.Tensor, dict[str, Any]]]):
    """Rows as torchdistill hands them on: sample, target, and what else there is."""

    def __init__(self, rows: RowSet) -> None:
        self._rows = rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Row, torch.Tensor, dict[str, Any]]:
        """Return a row."""
        row = self._rows[index]
        return row, row["labels"], {}


def collated(
    samples: list[tuple[Row, torch.Tensor, dict[str, Any]]],
) -> tuple[dict[str, Any], torch.Tensor, dict[str, Any]]:
    """Return samples as one batch, and its targets."""
    batch = padded([row for row, _, _ in samples])
    return batch, batch.pop("labels"), {}


def train(case: Case, material: Material, watch: Watch) -> None:
    """Train classes with the box; the loop over its loader is the user's, as in its examples."""
    core = importlib.import_module("torchdistill.core.distillation")
    registry = importlib.import_module("torchdistill.datasets.registry")
    importlib.import_module("torchdistill.core.interfaces.forward_proc")
    importlib.import_module("torchdistill.losses.mid_level")
    registry.register_collate_func(collated)
    student, teacher = load_models(case, material, watch)
    box = core.DistillationBox(
        teacher,
        student,
        {"rows": WithIndex(RowSet(load_rows(material.rows)))},
        _settings(case),
        torch.device("cpu"),
        None,
        False,
        1.0,
    )
    box.optimizer.register_step_post_hook(watch.step_ended)
    box.pre_epoch_process(epoch=0)
    for sample_batch, targets, supplement in box.train_data_loader:
        box.pre_forward_process()
        loss = box.forward_process(sample_batch, targets, supplement)
        watch.found({"loss": loss.item()})
        box.post_forward_process(loss=loss)


_HOOKS: dict[str, list[str]] = {"input": [], "output": ["classifier"]}


def _settings(case: Case) -> dict[str, Any]:
    side = {"forward_proc": "forward_batch_only_as_kwargs", "sequential": []}
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "rows",
            "requires_supp": False,
            "sampler": {"class_or_func": torch.utils.data.SequentialSampler},
            "collate_fn": "collated",
            "kwargs": {"batch_size": case.batch_rows},
        },
        "teacher": {**side, "requires_grad": False, "forward_hook": _HOOKS},
        "student": {**side, "requires_grad": True, "forward_hook": _HOOKS},
        "optimizer": {
            "key": "AdamW",
            "kwargs": {"lr": LEARNING_RATE, "weight_decay": 0.01},
            "max_grad_norm": 1.0,
        },
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {
                        "criterion": {
                            "key": "KDLoss",
                            "kwargs": {
                                "student_module_path": "classifier",
                                "student_module_io": "output",
                                "teacher_module_path": "classifier",
                                "teacher_module_io": "output",
                                "temperature": case.temperature,
                                "alpha": 1.0,
                                "beta": 1.0,
                            },
                        },
                        "weight": 1.0,
                    }
                }
            },
        },
    }
