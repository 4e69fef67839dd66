"""A transformers model read at scored positions only, and inside where a loss asks for it."""

from typing import Self

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.config.frozen import FrozenParts
from raykd.config.schema.run import TaskName
from raykd.errors import ModelError
from raykd.models.families import family_of, head_of
from raykd.models.internals import AttentionRecord, recording
from raykd.models.parts import freeze
from raykd.models.per_language import PerLanguageModel, TaskModel, per_language_scores
from raykd.scores import DenseScores, Scores

_NOTHING = LayersWanted()


class ScoredModel(torch.nn.Module):
    """A task model of transformers whose head sees the scored positions and nothing else.

    The scores are exactly those of the model's own forward at these positions. For language
    modelling, K is the size of the tokenizer's vocabulary: many models pad theirs to a round
    number, and the padded entries, which no token has, are cut off.

    An example is classified by the token that stands for it in the model's own family, wherever
    the batch scores it: teacher and student may be of different families. Of a decoder that is
    the last one that is not its padding token, which is also what transformers looks for: where
    texts end in the token that pads them, neither reads the class there.
    """

    class_order: torch.Tensor | None

    def __init__(
        self,
        model: TaskModel,
        *,
        task: TaskName,
        num_classes: int,
        class_order: tuple[int, ...] | None = None,
        languages: tuple[str, ...] | None = None,
    ) -> None:
        """Wrap a model; it stays reachable, unchanged, as ``model``.

        Args:
            model: A task model of transformers with a head for the task, or a PerLanguageModel.
            task: What is scored.
            num_classes: Vocabulary entries of the tokenizer, or classes of the data.
            class_order: The model's class of each class of the data; None where they are alike.
            languages: Languages of the data, in the order of the batches' indices; needed by a
                PerLanguageModel.

        Raises:
            ModelError: The family is unknown or does not serve the task, or the model scores
                fewer vocabulary entries or another number of classes.
            ValueError: A PerLanguageModel is not told the languages.
        """
        super().__init__()
        config = model.config
        is_shared = isinstance(model, PerLanguageModel)
        plain = model.model if is_shared else model
        where = f"{type(plain).__name__} {config.name_or_path or 'without a name'}"
        if is_shared and languages is None:
            message = f"{where}: has a head per language, so the data's languages are needed"
            raise ValueError(message)
        self.model = model
        self.num_classes = num_classes
        self.languages = languages
        self.register_buffer(
            "class_order",
            None if class_order is None else torch.tensor(class_order),
            # It belongs to the data, not to the weights.
            persistent=False,
        )
        self._family = family_of(config.model_type, where=where)
        self._head = head_of(config.model_type, task, where=where)
        self._reads_token_types = reads_token_types(config)
        self._pad_id = config.pad_token_id
        self._classifies_examples = task == "sequence_classification"
        self._pools_mean = getattr(config, "classifier_pooling", "cls") == "mean"
        self._frozen_modules: list[torch.nn.Module] = []
        _check_classes(config, task, num_classes=num_classes, where=where)

    def freeze(self, frozen: FrozenParts) -> None:
        """Leave parts as they are from here on: without gradient, and without dropout.

        Those below all that is trained compute outside the graph, and keep no activations.
        """
        self._frozen_modules = freeze(self._plain, frozen)
        if isinstance(self.model, PerLanguageModel) and frozen.covers("head", layer=None):
            self.model.heads.requires_grad_(requires_grad=False)
            self._frozen_modules += self.model.heads.modules()
        self._rest()

    def train(self, mode: bool = True) -> Self:  # noqa: FBT001, FBT002  torch's own signature
        """Set the mode of all modules but those that are frozen: they stay in evaluation mode."""
        super().train(mode)
        self._rest()
        return self

    def forward(self, batch: Batch, wanted: LayersWanted = _NOTHING) -> ModelOutputs:
        """Return hidden states [P, D] and scores [P, K] of the scored positions.

        With them come the layers that are wanted: hidden states of all tokens, and what the
        attention is computed from. The last hidden state includes the final norm of families
        that have one, as transformers gives it.
        """
        outputs, record = self._encode(batch, wanted)
        hidden_PD, host = self._summaries(outputs.last_hidden_state, batch), batch.on_host
        hidden_states_TD = {}
        if wanted.hidden:
            tokens_T = batch.tokens_T
            hidden_states_TD = {
                number: outputs.hidden_states[number].flatten(0, 1)[tokens_T]
                for number in wanted.hidden
            }
        return ModelOutputs(
            hidden_PD=hidden_PD,
            scores=self.scores(hidden_PD, host.languages_B[host.examples_P]),
            hidden_states_TD=hidden_states_TD,
            attention=record.inputs,
        )

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Return the last hidden states of the scored positions, [P, D].

        Where a ModernBERT classifies by the mean over the tokens of an example, it is that mean.
        """
        outputs, _ = self._encode(batch, _NOTHING)
        return self._summaries(outputs.last_hidden_state, batch)

    def scores(self, hidden_PD: torch.Tensor, languages_P: torch.Tensor | None = None) -> Scores:
        """Return the scores of hidden states, [P, K]; any of the positions will do.

        Args:
            hidden_PD: As ``hidden`` returns them.
            languages_P: Language of each position, on the CPU; only a PerLanguageModel asks for
                it.

        Raises:
            ModelError: A position is of a language that a PerLanguageModel has no head for.
            ValueError: A PerLanguageModel is not told the languages.
        """
        if not isinstance(self.model, PerLanguageModel):
            scores = self._head(self.model, hidden_PD)
        elif languages_P is None or self.languages is None:
            message = "a model with a head per language scores positions of known languages only"
            raise ValueError(message)
        else:
            scores = per_language_scores(
                self.model,
                self._head,
                hidden_PD,
                languages_P=languages_P,
                names=self.languages,
            )
        if self.class_order is not None:
            return DenseScores(logits_PK=scores.logits()[:, self.class_order])
        return scores.first(self.num_classes)

    @property
    def layers(self) -> torch.nn.ModuleList:
        """Layers of the encoder or decoder, the first one first."""
        layers: torch.nn.ModuleList = self._backbone.get_submodule(self._family.layers)
        return layers

    def _rest(self) -> None:
        for module in self._frozen_modules:
            # Not eval(), which is for all that is in it: BERT has its pooler, of the head, inside.
            module.training = False

    @property
    def _plain(self) -> PreTrainedModel:
        return self.model.model if isinstance(self.model, PerLanguageModel) else self.model

    @property
    def _backbone(self) -> PreTrainedModel:
        return self._plain.get_submodule(self._family.backbone)

    def _encode(
        self, batch: Batch, wanted: LayersWanted
    ) -> tuple[BaseModelOutput, AttentionRecord]:
        inputs: dict[str, object] = {
            "input_ids": batch.input_ids_BL,
            "attention_mask": batch.attention_mask_BL,
        }
        if self._reads_token_types:
            inputs["token_type_ids"] = batch.token_type_ids_BL
        if self._family.summary == "last":
            # Nothing is generated: keys and values would only take memory.
            inputs["use_cache"] = False
        if wanted.hidden:
            inputs["output_hidden_states"] = list(wanted.hidden)
        with recording(self.model.config, self.layers, wanted.attention) as record:
            outputs = self._backbone(**inputs, **record.arguments)
        return outputs, record

    def _summaries(self, hidden_BLD: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the hidden states that are scored, [P, D]."""
        if not self._classifies_examples:
            return hidden_BLD.flatten(0, 1)[batch.positions_P]
        if self._pools_mean:
            return _mean_over_tokens(hidden_BLD, batch.attention_mask_BL)[batch.examples_P]
        if self._family.summary == "first":
            # Padding is on the right: the first token of a row is at 0.
            return hidden_BLD[batch.examples_P, 0]
        last_B = _last_tokens(batch, pad_id=self._pad_id)
        return hidden_BLD[batch.examples_P, last_B[batch.examples_P]]


def reads_token_types(config: PreTrainedConfig) -> bool:
    """Tell whether a model of a configuration tells the two texts of a pair apart by segments."""
    return bool(getattr(config, "type_vocab_size", 0) > 1)


def _last_tokens(batch: Batch, *, pad_id: int | None) -> torch.Tensor:
    """Return where the last token of each example is that is not padding; 0 where all are."""
    is_text_BL = batch.is_token_BL
    if pad_id is not None:
        is_text_BL = is_text_BL & (batch.input_ids_BL != pad_id)
    places_L = torch.arange(is_text_BL.shape[1], device=is_text_BL.device)
    return (places_L * is_text_BL).amax(dim=1)


def _mean_over_tokens(
    hidden_BLD: torch.Tensor, attention_mask_BL: torch.Tensor | None
) -> torch.Tensor:
    if attention_mask_BL is None:
        return hidden_BLD.mean(dim=1)
    mask_BL1 = attention_mask_BL.unsqueeze(-1)
    return (hidden_BLD * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)


def _check_classes(
    config: PreTrainedConfig, task: TaskName, *, num_classes: int, where: str
) -> None:
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
