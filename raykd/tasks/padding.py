"""From flat rows to the padded tensors of a batch, without a loop over rows."""

import numpy as np
import torch

from raykd.batch import Batch, IntArray, Rows
from raykd.errors import DataError

_NO_ROW_ID = -1


def padded_batch(
    rows: Rows, *, input_ids_T: IntArray, scored_P: IntArray, labels_P: IntArray, pad_id: int
) -> Batch:
    """Return rows, at least one, as one padded batch.

    Args:
        rows: Where lengths, segments, languages and identities come from.
        input_ids_T: What the models read: the tokens of the rows, or a masked copy.
        scored_P: The scored tokens as indices into the T tokens, ascending.
        labels_P: What is right at each scored token.
        pad_id: Id that fills up short rows.

    Returns:
        A batch of [B, L] tokens, with no attention mask where nothing is padded.

    Raises:
        DataError: A row has no tokens.
    """
    _require_tokens(rows)
    num_rows, longest = len(rows), int(rows.lengths_B.max())
    is_token_BL = np.arange(longest) < rows.lengths_B[:, None]
    is_padded = len(input_ids_T) < num_rows * longest
    types_T = rows.token_types_T
    return Batch(
        input_ids_BL=_filled(input_ids_T, is_token_BL, fill=pad_id),
        attention_mask_BL=_tensor(is_token_BL) if is_padded else None,
        token_type_ids_BL=None if types_T is None else _filled(types_T, is_token_BL, fill=0),
        positions_P=_tensor(np.flatnonzero(is_token_BL)[scored_P]),
        labels_P=_tensor(labels_P),
        languages_B=_tensor(rows.languages_B),
        row_ids_B=_tensor(rows.row_ids_B),
        epochs_B=_tensor(rows.epochs_B),
        num_tokens=len(input_ids_T),
    )


def idle_batch(pad_id: int) -> Batch:
    """Return a batch for no rows: one padding token that any model can run, nothing scored.

    A worker without rows still runs forward and backward, because the others wait for it.
    """
    nothing_P = torch.zeros(0, dtype=torch.int64)
    return Batch(
        input_ids_BL=torch.full((1, 1), pad_id, dtype=torch.int64),
        # Without a mask the padding token attends to itself; attention to nothing is NaN.
        attention_mask_BL=None,
        token_type_ids_BL=None,
        positions_P=nothing_P,
        labels_P=nothing_P,
        languages_B=torch.zeros(1, dtype=torch.int64),
        row_ids_B=torch.full((1,), _NO_ROW_ID, dtype=torch.int64),
        epochs_B=torch.zeros(1, dtype=torch.int64),
        num_tokens=0,
    )


def _require_tokens(rows: Rows) -> None:
    if rows.lengths_B.min() < 1:
        row_id = rows.row_ids_B[rows.lengths_B.argmin()]
        message = f"row {row_id}: has no tokens; prepare the data set again"
        raise DataError(message)


def _filled(values_T: IntArray, is_token_BL: np.ndarray, *, fill: int) -> torch.Tensor:
    values_BL = np.full(is_token_BL.shape, fill, dtype=np.int64)
    values_BL[is_token_BL] = values_T
    return torch.from_numpy(values_BL)


def _tensor(values: np.ndarray) -> torch.Tensor:
    # A copy: arrays that come from Arrow are read-only, tensors never are.
    return torch.tensor(values, dtype=torch.int64)
