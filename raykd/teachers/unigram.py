"""How often each class, or each token, is right in the data that a run trains on."""

import functools
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from raykd.config.schema.data import DataConfig
from raykd.data.manifest import Manifest
from raykd.data.stream import evaluation_rows
from raykd.tasks.task import Task

_ROWS = 1024
"""Rows that are counted at a time, at least."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Question:
    """A pass over training rows, to be looked up by what decides its counts."""

    key: str
    manifest: Manifest = field(compare=False)
    data: DataConfig = field(compare=False)
    task: Task = field(compare=False)


def unigram_log_probs(manifest: Manifest, data: DataConfig, task: Task) -> torch.Tensor:
    """Return the logarithm of the share that each class has of the labels of the training rows.

    One label is added to each class (Laplace), so that none has probability 0. Every row counts
    once, however languages are mixed; a worker counts all rows itself, once in its process.

    Returns:
        float32 on the CPU, shape [K].

    Raises:
        DataError: A row cannot be read, or has no label.
    """
    key = repr((manifest.uri, manifest.fingerprint, data, task.name))
    return _log_probs(_Question(key=key, manifest=manifest, data=data, task=task))


@functools.lru_cache(maxsize=4)
def _log_probs(question: _Question) -> torch.Tensor:
    # Of the languages that are trained on, whichever are evaluated on.
    task, data = question.task, replace(question.data, eval_languages=None)
    counts_K = np.ones(task.num_classes, dtype=np.int64)
    for rows in evaluation_rows(
        question.manifest, data, split=data.train_split, batch_size=_ROWS, worker=(0, 1)
    ):
        counts_K += np.bincount(task.targets(rows), minlength=task.num_classes)
    # float64: rounded to float32 once.
    log_probs_K = np.log(counts_K) - np.log(counts_K.sum())
    return torch.from_numpy(log_probs_K).float()
