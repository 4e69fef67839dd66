"""The rows of every step as tensors, and the padding of a batch as the peers do it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn.utils.rnn import pad_sequence

NO_LABEL = -100
_PAD_ID = 0

Row = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRows:
    """What is trained on in one step: the tokens as the models read them, and the labels."""

    rows: tuple[Row, ...]


def save_rows(path: Path, steps: Sequence[StepRows]) -> None:
    """Write the rows of every step to one file."""
    tensors = {
        f"{number:04d}/{index:04d}/{name}": tensor
        for number, step in enumerate(steps)
        for index, row in enumerate(step.rows)
        for name, tensor in row.items()
    }
    save_file(tensors, path)


def load_rows(path: Path) -> list[StepRows]:
    """Return the rows of every step."""
    steps: dict[str, dict[str, Row]] = {}
    for key, tensor in sorted(load_file(path).items()):
        number, index, name = key.split("/")
        steps.setdefault(number, {}).setdefault(index, {})[name] = tensor
    return [StepRows(rows=tuple(rows.values())) for rows in steps.values()]


def num_tokens(step: StepRows) -> int:
    """Return the tokens of a step, padding not counted."""
    return sum(len(row["input_ids"]) for row in step.rows)


class RowSet(torch.utils.data.Dataset[Row]):
    """All rows in their order, for loaders that batch and pad themselves."""

    def __init__(self, steps: Sequence[StepRows]) -> None:
        self._rows = [row for step in steps for row in step.rows]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        """Return a row."""
        return self._rows[index]

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows in their order."""
        return iter(self._rows)


def padded(rows: list[Row]) -> dict[str, Any]:
    """Return rows as one batch, padded to the longest."""
    ids = [row["input_ids"] for row in rows]
    labels = [row["labels"] for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=_PAD_ID),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": torch.stack(labels)
        if labels[0].ndim == 0
        else pad_sequence(labels, batch_first=True, padding_value=NO_LABEL),
    }
