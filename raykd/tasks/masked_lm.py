"""Masked-language modelling: predict the tokens that are hidden."""

from dataclasses import dataclass

from raykd.batch import Batch, Rows
from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.run import TaskName
from raykd.tasks.masking import MaskableVocabulary, mask_tokens
from raykd.tasks.padding import idle_batch, padded_batch


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
