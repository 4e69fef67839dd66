"""From what is to be kept, or from what was, to the way to keep it."""

import torch

from raykd.errors import ConfigError
from raykd.scores import ProjectedScores, Scores
from raykd.teachers.cache.dense import HiddenEncoding, LogitsEncoding
from raykd.teachers.cache.drawn import SampledEncoding, TopKEncoding
from raykd.teachers.cache.payload import Description, Encoding, Payload, Tensors

_PRECISIONS = {"float16": torch.float16, "int8": torch.int8}


def encoding_for(payload: Payload, scores: Scores) -> Encoding:
    """Return how to keep scores such as these.

    Raises:
        ConfigError: The mode needs the head of a vocabulary, and the scores are not of one.
    """
    classes, size = scores.num_classes, payload.size or 1
    precision = _PRECISIONS.get(payload.precision or "exact")
    match payload.mode:
        case "logits":
            own = scores.logits(slice(0, 1)).dtype
            return LogitsEncoding(num_classes=classes, dtype=precision or own)
        case "hidden":
            if not isinstance(scores, ProjectedScores):
                message = (
                    "cache.mode=hidden: the teacher's scores are not made by one linear map; use "
                    "the mode logits"
                )
                raise ConfigError(message)
            return HiddenEncoding.of(scores, precision or scores.features_PD.dtype)
        case "top_k":
            return TopKEncoding(num_classes=classes, size=min(size, classes))
        case "sampled":
            # Not cut to the classes, as top_k is: a class may be drawn more than once.
            return SampledEncoding(num_classes=classes, size=size)


def described_encoding(description: Description, tensors: Tensors) -> Encoding:
    """Return what an encoding's description and tensors are of.

    Raises:
        ValueError: They are of no encoding.
    """
    try:
        return _described(description, tensors)
    except (KeyError, AttributeError, TypeError) as error:
        message = f"{dict(description)} describes no encoding: {type(error).__name__}: {error}"
        raise ValueError(message) from error


def _described(description: Description, tensors: Tensors) -> Encoding:
    given = dict(description)
    match given.pop("mode"):
        case "logits":
            dtype = getattr(torch, given["dtype"])
            return LogitsEncoding(num_classes=given["num_classes"], dtype=dtype)
        case "hidden":
            return HiddenEncoding.described(given, tensors)
        case "top_k":
            return TopKEncoding(**given)
        case "sampled":
            return SampledEncoding(**given)
        case mode:
            raise KeyError(mode)
