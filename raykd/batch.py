"""The arrays and tensors that travel between modules.

Dimension key, used as suffixes throughout raykd:

    B: examples in the micro-batch      P: scored positions in the micro-batch
    L: tokens in the longest example    K: what is scored: vocabulary entries or classes
    D: hidden size                      T: tokens of all examples, one after the other
    H: attention heads                  G: key-value heads (in raykd.batch; elsewhere languages)
    E: width of an attention head       Q: those of the P positions that one teacher scores

A scored position is a place in the batch where a loss applies: a masked token, a next
token, the summary token of an example, the first token of a word. Everything after the
encoder works on scored positions only, so nothing there ever sees padding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from raykd.errors import DataError
from raykd.scores import Scores

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]

_NO_ROW_ID = -1


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on a device; nothing waits for the copy to a GPU."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        # From other memory the copy waits for all that the GPU still has to do.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Prepared examples as they come from storage: no padding, no masks, no tensors."""

    token_ids_T: IntArray
    """Tokens of all rows, one row after the other, special tokens included."""

    lengths_B: IntArray
    """Tokens of each row; they sum to T."""

    row_ids_B: IntArray
    """Identity of each row, unique in the prepared data set."""

    epochs_B: IntArray
    """How often each row's stream has been read through before: 0 in the first pass."""

    languages_B: IntArray
    """Index of each row's language in the manifest's list of languages."""

    labels_B: IntArray | FloatArray | None = None
    """Class or number of each row, for sequence classification."""

    token_labels_T: IntArray | None = None
    """Class of the word that each token begins, -100 where none begins."""

    token_types_T: IntArray | None = None
    """Segment of each token, for tokenizers that tell the two texts of a pair apart."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.lengths_B)

    @staticmethod
    def empty() -> "Rows":
        """Return no rows at all."""
        nothing = np.zeros(0, dtype=np.int64)
        return Rows(
            token_ids_T=nothing,
            lengths_B=nothing,
            row_ids_B=nothing,
            epochs_B=nothing,
            languages_B=nothing,
        )

    @staticmethod
    def concatenate(pieces: "Sequence[Rows]") -> "Rows":
        """Return the rows of all pieces, which have the same columns, one after the other."""
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            return Rows.empty()
        arrays: dict[str, Any] = {}
        for column in fields(Rows):
            values = [getattr(piece, column.name) for piece in pieces]
            arrays[column.name] = None if values[0] is None else np.concatenate(values)
        return Rows(**arrays)

    def take(self, indices: IntArray) -> "Rows":
        """Return some of the rows, in the order of the indices."""
        starts_B = np.cumsum(self.lengths_B) - self.lengths_B
        lengths = self.lengths_B[indices]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return self.select(indices, np.repeat(starts_B[indices], lengths) + within)

    def select(self, rows: IntArray | slice, tokens: IntArray | slice) -> "Rows":
        """Return some of the rows, views where slices are given.

        Args:
            rows: Which.
            tokens: All of their tokens, in the same order.
        """
        selected: dict[str, Any] = {}
        for column in fields(Rows):
            values, chosen = getattr(self, column.name), tokens
            if column.name.endswith("_B"):
                chosen = rows
            selected[column.name] = None if values is None else values[chosen]
        return Rows(**selected)

    def split(self, size: int) -> "list[Rows]":
        """Cut into pieces of at most ``size`` rows of like length, so that little is padded.

        No rows make one empty piece: a worker without rows still takes part in the step.
        """
        # Stable: rows of one length stay in their order, on every machine.
        order = np.argsort(self.lengths_B, kind="stable")
        starts = range(0, max(len(self), 1), size)
        return [self.take(order[start : start + size]) for start in starts]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A micro-batch, padded to one length, with its scored positions."""

    input_ids_BL: torch.Tensor
    """Token ids as the models read them (masked where the task masks), int64."""

    attention_mask_BL: torch.Tensor | None
    """1 for a token and 0 for padding, int64; None where nothing is padded."""

    token_type_ids_BL: torch.Tensor | None
    """Segment of each token, int64, or None for models without segments."""

    positions_P: torch.Tensor
    """Scored positions as indices into the flattened [B * L] tokens, int64."""

    labels_P: torch.Tensor
    """What is right at each scored position: a token id or a class, int64, or a number,
    float32."""

    languages_B: torch.Tensor
    """Index of each example's language, int64."""

    row_ids_B: torch.Tensor
    """Identity of each example, int64."""

    epochs_B: torch.Tensor
    """How often each example's stream has been read through before, int64."""

    num_tokens: int
    """Tokens in the batch, padding not counted."""

    host: "Batch | None" = None
    """The same batch on the CPU, where this one is not."""

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device; nothing waits for the copies to a GPU."""
        mask_BL, types_BL = self.attention_mask_BL, self.token_type_ids_BL
        return Batch(
            input_ids_BL=to_device(self.input_ids_BL, device),
            attention_mask_BL=None if mask_BL is None else to_device(mask_BL, device),
            token_type_ids_BL=None if types_BL is None else to_device(types_BL, device),
            positions_P=to_device(self.positions_P, device),
            labels_P=to_device(self.labels_P, device),
            languages_B=to_device(self.languages_B, device),
            row_ids_B=to_device(self.row_ids_B, device),
            epochs_B=to_device(self.epochs_B, device),
            num_tokens=self.num_tokens,
            host=None if device.type == "cpu" else self.on_host,
        )

    @property
    def on_host(self) -> "Batch":
        """The batch on the CPU: whoever reads numbers from there waits for no device."""
        return self if self.host is None else self.host

    @property
    def examples_P(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """Example of each scored position, int64."""
        return self.positions_P // self.input_ids_BL.shape[1]

    @property
    def is_token_BL(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """True for a token, False for padding; the one token of a batch of no rows is padding."""
        if self.attention_mask_BL is None:
            return torch.full_like(self.input_ids_BL, self.num_tokens > 0, dtype=torch.bool)
        return self.attention_mask_BL.bool()

    @property
    def tokens_T(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """Place of each token among the [B * L], int64; no device is asked how many there are."""
        tokens_T = self.on_host.is_token_BL.flatten().nonzero().squeeze(-1)
        return to_device(tokens_T, self.input_ids_BL.device)

    def of_examples(self, is_chosen_B: torch.Tensor) -> "tuple[Batch, torch.Tensor]":
        """Return the batch of some of the examples, at least one, and their positions.

        Args:
            is_chosen_B: True for the examples to keep, in their order; on the CPU.

        Returns:
            The smaller batch, of the same length L, on this batch's device; and the index of each
            of its scored positions among the P of this batch, shape [Q], rising, on the CPU.
        """
        host, device = self.on_host, self.positions_P.device
        examples_P = host.examples_P
        # On the host: shapes depend on how many there are, and a GPU would have to be awaited.
        positions_Q = is_chosen_B[examples_P].nonzero().squeeze(-1)
        new_example_B = is_chosen_B.cumsum(0) - 1
        length = host.input_ids_BL.shape[1]
        places_Q = new_example_B[examples_P[positions_Q]] * length
        mask_BL, types_BL = host.attention_mask_BL, host.token_type_ids_BL
        chosen = replace(
            host,
            input_ids_BL=host.input_ids_BL[is_chosen_B],
            attention_mask_BL=None if mask_BL is None else mask_BL[is_chosen_B],
            token_type_ids_BL=None if types_BL is None else types_BL[is_chosen_B],
            positions_P=places_Q + host.positions_P[positions_Q] % length,
            labels_P=host.labels_P[positions_Q],
            languages_B=host.languages_B[is_chosen_B],
            row_ids_B=host.row_ids_B[is_chosen_B],
            epochs_B=host.epochs_B[is_chosen_B],
            num_tokens=int(host.is_token_BL[is_chosen_B].sum()),
        )
        return chosen.to(device), positions_Q


def padded_batch(
    rows: Rows,
    *,
    input_ids_T: IntArray,
    scored_P: IntArray,
    labels_P: IntArray | FloatArray,
    pad_id: int,
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
        # Token t of the rows is at the t-th place that is no padding.
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
    dtype = torch.float32 if values.dtype == np.float32 else torch.int64
    return torch.tensor(values, dtype=dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayersWanted:
    """The layers of a model whose insides a loss compares; none of them costs nothing."""

    hidden: tuple[int, ...] = ()
    """Hidden states: 0 is the output of the embeddings, i that of layer i counted from 1."""

    attention: tuple[int, ...] = ()
    """Layers, counted from 0, whose queries, keys and values are wanted."""

    def __or__(self, other: "LayersWanted") -> "LayersWanted":
        """Return what either wants."""
        return LayersWanted(
            hidden=tuple(sorted({*self.hidden, *other.hidden})),
            attention=tuple(sorted({*self.attention, *other.attention})),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionInputs:
    """What the attention of one layer is computed from, as it is just before the scores."""

    query_BHLE: torch.Tensor
    key_BGLE: torch.Tensor
    value_BGLE: torch.Tensor
    scaling: float
    """Multiplies the products of queries and keys."""

    is_causal: bool
    """Whether a token attends to itself and what is before it only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOutputs:
    """What one model says about a batch."""

    hidden_PD: torch.Tensor
    """Last hidden states of the scored positions."""

    scores: Scores
    """Unnormalised scores of the scored positions."""

    hidden_states_TD: Mapping[int, torch.Tensor] = field(default_factory=dict)
    """Hidden states of the tokens, padding left out, by the numbers that were wanted."""

    attention: Mapping[int, AttentionInputs] = field(default_factory=dict)
    """By layer, counted from 0."""

    @property
    def logits_PK(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """All scores at once, for where they are few."""
        return self.scores.logits()
