"""A transformers model read at scored positions only."""

from typing import Any

import torch

from raykd.batch import Batch, ModelOutputs
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.families import family_of, head_of


class ScoredModel(torch.nn.Module):
    """A task model of transformers whose head sees the scored positions and nothing else.

    The scores are exactly those of the model's own forward at these positions. For language
    modelling, K is the size of the tokenizer's vocabulary: many models pad theirs to a round
    number, and the padded entries, which no token has, are cut off.
    """

    def __init__(self, model: Any, *, task: TaskName, num_classes: int) -> None:
        """Wrap a model; it stays reachable, unchanged, as ``model``.

        Args:
            model: A task model of transformers, with a head for the task.
            task: What is scored.
            num_classes: Vocabulary entries of the tokenizer, or classes of the data.

        Raises:
            ModelError: The family is unknown or does not serve the task, or the model scores
                fewer vocabulary entries or another number of classes.
        """
        super().__init__()
        config = model.config
        where = f"{type(model).__name__} {config.name_or_path or 'without a name'}"
        self.model = model
        self.num_classes = num_classes
        self._family = family_of(config.model_type, where=where)
        self._head = head_of(config.model_type, task, where=where)
        self._reads_token_types = getattr(config, "type_vocab_size", 0) > 1
        self._pools_mean = (
            task == "sequence_classification"
            and getattr(config, "classifier_pooling", "cls") == "mean"
        )
        _check_classes(config, task, num_classes=num_classes, where=where)

    def forward(self, batch: Batch) -> ModelOutputs:
        """Return hidden states [P, D] and scores [P, K] of the scored positions."""
        hidden_PD = self.hidden(batch)
        return ModelOutputs(hidden_PD=hidden_PD, logits_PK=self.logits(hidden_PD))

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Return the last hidden states of the scored positions, [P, D].

        Where a ModernBERT classifies by the mean over the tokens of an example, it is that mean.
        """
        inputs: dict[str, Any] = {
            "input_ids": batch.input_ids_BL,
            "attention_mask": batch.attention_mask_BL,
        }
        if self._reads_token_types:
            inputs["token_type_ids"] = batch.token_type_ids_BL
        if self._family.summary == "last":
            inputs["use_cache"] = False
        backbone = self.model.get_submodule(self._family.backbone)
        hidden_BLD: torch.Tensor = backbone(**inputs).last_hidden_state
        if self._pools_mean:
            return _mean_over_tokens(hidden_BLD, batch.attention_mask_BL)[batch.examples_P]
        return hidden_BLD.flatten(0, 1)[batch.positions_P]

    def logits(self, hidden_PD: torch.Tensor) -> torch.Tensor:
        """Return the scores of hidden states, [P, K]; any share of the positions will do."""
        return self._head(self.model, hidden_PD)[:, : self.num_classes]


def _mean_over_tokens(
    hidden_BLD: torch.Tensor, attention_mask_BL: torch.Tensor | None
) -> torch.Tensor:
    if attention_mask_BL is None:
        return hidden_BLD.mean(dim=1)
    mask_BL1 = attention_mask_BL.unsqueeze(-1)
    return (hidden_BLD * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)


def _check_classes(config: Any, task: TaskName, *, num_classes: int, where: str) -> None:
    if task in ("masked_lm", "causal_lm"):
        if config.vocab_size >= num_classes:
            return
        message = (
            f"{where}: has a vocabulary of {config.vocab_size}, but the data's tokenizer has "
            f"{num_classes} entries; prepare the data with this model's tokenizer"
        )
        raise ModelError(message)
    if config.num_labels != num_classes:
        message = (
            f"{where}: scores {config.num_labels} classes, but the data has {num_classes}; "
            "use a model that was trained on the data's labels"
        )
        raise ModelError(message)
