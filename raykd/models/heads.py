"""Task heads of transformers models, applied to chosen positions only.

Each function takes a task model and hidden states [P, D] of its backbone, and returns what the
model's own forward computes from them, [P, K]. Some heads of transformers take whole sequences
and look at the first token; they are given sequences of one token.
"""

from collections.abc import Callable
from typing import Any

import torch

Head = Callable[[Any, torch.Tensor], torch.Tensor]


def bert_vocabulary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the vocabulary: transform, then the tied embeddings."""
    logits_PK: torch.Tensor = model.cls(hidden_PD)
    return logits_PK


def bert_summary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of an example: pooler, dropout, classifier."""
    pooled_PD = model.bert.pooler(hidden_PD[:, None])
    logits_PK: torch.Tensor = model.classifier(model.dropout(pooled_PD))
    return logits_PK


def roberta_summary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of an example: dense, tanh, projection."""
    logits_PK: torch.Tensor = model.classifier(hidden_PD[:, None])
    return logits_PK


def distilbert_vocabulary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the vocabulary: transform, activation, norm, projector."""
    transformed_PD = model.activation(model.vocab_transform(hidden_PD))
    normed_PD = model.vocab_layer_norm(transformed_PD)
    logits_PK: torch.Tensor = model.vocab_projector(normed_PD)
    return logits_PK


def distilbert_summary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of an example: dense, ReLU, dropout, classifier."""
    dense_PD = torch.relu(model.pre_classifier(hidden_PD))
    logits_PK: torch.Tensor = model.classifier(model.dropout(dense_PD))
    return logits_PK


def deberta_vocabulary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the vocabulary with the legacy head or the one of the paper's code."""
    if model.legacy:
        legacy_PK: torch.Tensor = model.cls(hidden_PD)
        return legacy_PK
    embeddings = model.deberta.embeddings.word_embeddings
    logits_PK: torch.Tensor = model.lm_predictions(hidden_PD, embeddings)
    return logits_PK


def deberta_summary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of an example: context pooler, dropout, classifier."""
    pooled_PD = model.pooler(hidden_PD[:, None])
    logits_PK: torch.Tensor = model.classifier(model.dropout(pooled_PD))
    return logits_PK


def modernbert_vocabulary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the vocabulary: prediction head, decoder."""
    logits_PK: torch.Tensor = model.decoder(model.head(hidden_PD))
    return logits_PK


def modernbert_classes(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of an example or a token: prediction head, dropout, classifier."""
    dropped_PD = model.drop(model.head(hidden_PD))
    logits_PK: torch.Tensor = model.classifier(dropped_PD)
    return logits_PK


def lm_head(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the vocabulary with the head of RoBERTa or of a decoder."""
    logits_PK: torch.Tensor = model.lm_head(hidden_PD)
    return logits_PK


def token_classes(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of a token: dropout, classifier."""
    logits_PK: torch.Tensor = model.classifier(model.dropout(hidden_PD))
    return logits_PK


def decoder_summary(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of an example from a decoder's last token."""
    logits_PK: torch.Tensor = model.score(hidden_PD)
    return logits_PK


def decoder_token_classes(model: Any, hidden_PD: torch.Tensor) -> torch.Tensor:
    """Score the classes of a token of a decoder: dropout, projection."""
    logits_PK: torch.Tensor = model.score(model.dropout(hidden_PD))
    return logits_PK
