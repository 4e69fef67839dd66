"""Masked-language modelling: predict the tokens that are hidden.

Masks are a pure function of (seed, row, epoch, position in the row). No generator is carried
along: every number is a hash of its place. So a row is masked in the same way in any batch, on
any worker, after any resume, for a live teacher and a cached one.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raykd.batch import Batch, IntArray, Rows, idle_batch, padded_batch
from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.run import TaskName
from raykd.splitmix import GOLDEN, mixed

_DRAWS = 3
"""Numbers drawn for each token: whether it is scored, what hides it, which random id."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaskableVocabulary:
    """Which ids of a vocabulary are text, and the one that hides text."""

    is_text_V: npt.NDArray[np.bool_]
    """Whether each id may be hidden, and may stand in for another."""

    text_ids: IntArray
    """The ids that may."""

    mask_id: int


def maskable_vocabulary(
    *, vocab_size: int, mask_id: int, special_ids: tuple[int, ...]
) -> MaskableVocabulary:
    """Return a vocabulary in which every id but the special ones is text."""
    is_text_V = np.ones(vocab_size, dtype=np.bool_)
    is_text_V[[mask_id, *special_ids]] = False
    return MaskableVocabulary(
        is_text_V=is_text_V, text_ids=np.flatnonzero(is_text_V), mask_id=mask_id
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedLM:
    """Scores a random share of the tokens, hidden anew in every epoch."""

    vocabulary: MaskableVocabulary
    masking: MaskingConfig
    seed: int
    pad_id: int
    name: TaskName = "masked_lm"
    class_names: None = None

    @property
    def num_classes(self) -> int:
        """Return the size of the vocabulary."""
        return len(self.vocabulary.is_text_V)

    def collate(self, rows: Rows) -> Batch:
        """Return a batch that scores the hidden tokens; the labels are the true ones."""
        if not len(rows):
            return idle_batch(self.pad_id)
        input_ids_T, scored_P = mask_tokens(
            rows, vocabulary=self.vocabulary, masking=self.masking, seed=self.seed
        )
        return padded_batch(
            rows,
            input_ids_T=input_ids_T,
            scored_P=scored_P,
            labels_P=rows.token_ids_T[scored_P],
            pad_id=self.pad_id,
        )

    def targets(self, rows: Rows) -> IntArray:
        """Return every token that may be hidden."""
        return rows.token_ids_T[self.vocabulary.is_text_V[rows.token_ids_T]]


def mask_epochs(masking: MaskingConfig, epochs_B: IntArray) -> IntArray:
    """Return the epoch that decides the masks in each epoch."""
    return epochs_B if masking.num_variants is None else epochs_B % masking.num_variants


def mask_tokens(
    rows: Rows, *, vocabulary: MaskableVocabulary, masking: MaskingConfig, seed: int
) -> tuple[IntArray, IntArray]:
    """Hide a random share of the tokens (BERT: Devlin et al., 2019, section 3.1).

    Returns:
        The masked copy of the tokens, shape [T], and the indices of the scored ones among
        them, shape [P], ascending. A short row may have none.
    """
    counters_T = _counters(rows, mask_epochs(masking, rows.epochs_B), seed)
    is_scored_T = _uniform(counters_T, draw=0) < masking.fraction
    scored_P = np.flatnonzero(is_scored_T & vocabulary.is_text_V[rows.token_ids_T])
    counters_P = counters_T[scored_P]
    action_P = _uniform(counters_P, draw=1)
    pick_P = (_uniform(counters_P, draw=2) * len(vocabulary.text_ids)).astype(np.int64)
    shown_P = np.where(
        action_P < masking.mask_fraction + masking.random_fraction,
        vocabulary.text_ids[pick_P],
        rows.token_ids_T[scored_P],
    )
    shown_P[action_P < masking.mask_fraction] = vocabulary.mask_id
    input_ids_T = rows.token_ids_T.copy()
    input_ids_T[scored_P] = shown_P
    return input_ids_T, scored_P


def _counters(rows: Rows, epochs_B: IntArray, seed: int) -> npt.NDArray[np.uint64]:
    """Return where the numbers of each token begin in the sequence of its row, shape [T]."""
    keys_B = mixed(np.full(len(rows), seed, dtype=np.uint64) + GOLDEN)
    keys_B = mixed(keys_B ^ epochs_B.astype(np.uint64))
    keys_B = mixed(keys_B ^ rows.row_ids_B.astype(np.uint64))
    starts_B = np.cumsum(rows.lengths_B) - rows.lengths_B
    places_T = np.arange(len(rows.token_ids_T)) - np.repeat(starts_B, rows.lengths_B)
    # + 1: splitmix64 steps before it mixes, and the bare key is not drawn.
    steps_T = (places_T * _DRAWS + 1).astype(np.uint64) * GOLDEN
    return np.repeat(keys_B, rows.lengths_B) + steps_T


def _uniform(counters: npt.NDArray[np.uint64], *, draw: int) -> npt.NDArray[np.float64]:
    """Return the draw-th number of each token, uniform in [0, 1) with 53 random bits."""
    offset = np.array([draw], dtype=np.uint64) * GOLDEN
    return (mixed(counters + offset) >> np.uint64(11)).astype(np.float64) * 2.0**-53
