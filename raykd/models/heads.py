"""Task heads of transformers models, applied to chosen positions only.

Each function takes a task model and hidden states [P, D] of its backbone, and returns the scores
[P, K] that the model's own forward computes from them. Those of a vocabulary are not computed
before they are asked for. Some heads of transformers take whole sequences and look at the first
token; they are given sequences of one token.
"""

from collections.abc import Callable

import torch
from transformers import PreTrainedModel

from raykd.scores import DenseScores, ProjectedScores, Scores

Head = Callable[[PreTrainedModel, torch.Tensor], Scores]


def bert_vocabulary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the vocabulary: transform, then the tied embeddings."""
    head = model.cls.predictions
    return _projected(head.transform(hidden_PD), head.decoder)


def bert_summary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of an example: pooler, dropout, classifier."""
    pooled_PD = model.bert.pooler(hidden_PD[:, None])
    return DenseScores(logits_PK=model.classifier(model.dropout(pooled_PD)))


def roberta_vocabulary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the vocabulary: dense, GELU, norm, then the tied embeddings."""
    head = model.lm_head
    transformed_PD = torch.nn.functional.gelu(head.dense(hidden_PD))
    return _projected(head.layer_norm(transformed_PD), head.decoder)


def roberta_summary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of an example: dense, tanh, projection."""
    return DenseScores(logits_PK=model.classifier(hidden_PD[:, None]))


def distilbert_vocabulary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the vocabulary: transform, activation, norm, projector."""
    transformed_PD = model.activation(model.vocab_transform(hidden_PD))
    return _projected(model.vocab_layer_norm(transformed_PD), model.vocab_projector)


def distilbert_summary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of an example: dense, ReLU, dropout, classifier."""
    dense_PD = torch.relu(model.pre_classifier(hidden_PD))
    return DenseScores(logits_PK=model.classifier(model.dropout(dense_PD)))


def deberta_vocabulary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the vocabulary with the legacy head or the one of the paper's code."""
    if model.legacy:
        legacy = model.cls.predictions
        return _projected(legacy.transform(hidden_PD), legacy.decoder)
    head = model.lm_predictions.lm_head
    transformed_PD = head.LayerNorm(head.transform_act_fn(head.dense(hidden_PD)))
    embeddings = model.deberta.embeddings.word_embeddings
    return _projected(transformed_PD, embeddings, bias_K=head.bias)


def deberta_summary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of an example: context pooler, dropout, classifier."""
    pooled_PD = model.pooler(hidden_PD[:, None])
    return DenseScores(logits_PK=model.classifier(model.dropout(pooled_PD)))


def modernbert_vocabulary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the vocabulary: prediction head, decoder."""
    return _projected(model.head(hidden_PD), model.decoder)


def modernbert_classes(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of an example or a token: prediction head, dropout, classifier."""
    dropped_PD = model.drop(model.head(hidden_PD))
    return DenseScores(logits_PK=model.classifier(dropped_PD))


def decoder_vocabulary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the vocabulary with the linear head of a decoder."""
    return _projected(hidden_PD, model.lm_head)


def token_classes(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of a token: dropout, classifier."""
    return DenseScores(logits_PK=model.classifier(model.dropout(hidden_PD)))


def decoder_summary(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of an example from a decoder's last token."""
    return DenseScores(logits_PK=model.score(hidden_PD))


def decoder_token_classes(model: PreTrainedModel, hidden_PD: torch.Tensor) -> Scores:
    """Score the classes of a token of a decoder: dropout, projection."""
    return DenseScores(logits_PK=model.score(model.dropout(hidden_PD)))


def _projected(
    features_PD: torch.Tensor,
    decoder: torch.nn.Linear | torch.nn.Embedding,
    *,
    bias_K: torch.Tensor | None = None,
) -> ProjectedScores:
    """Leave the last linear map for later; autocast will have ended by then."""
    device = features_PD.device.type
    # Shapes alone, on the meta device, know no autocast.
    casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return ProjectedScores(
        features_PD=features_PD,
        weight_KD=decoder.weight,
        bias_K=getattr(decoder, "bias", bias_K),
        dtype=torch.get_autocast_dtype(device) if casts else None,
    )
