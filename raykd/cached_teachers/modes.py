"""What a run may keep of its teachers' outputs: what is named, or what is chosen from."""

from raykd.config.schema.run import RunConfig
from raykd.config.schema.teachers import SPARSE_MODES, CacheConfig, against_sparse
from raykd.distill.setup import RunSetup
from raykd.teachers.cache.payload import Payload

_FEW_CLASSES = 1024
"""Up to here all scores are kept without measuring anything."""


def candidates_of(section: CacheConfig, setup: RunSetup) -> tuple[Payload, ...]:
    """Return what may be kept: one way that is named, or those that auto chooses from."""
    top_k = Payload(mode="top_k", size=section.top_k)
    sampled = Payload(mode="sampled", size=section.num_draws)
    match section.mode:
        case "logits":
            return (Payload(mode="logits", precision=section.precision or "exact"),)
        case "hidden":
            return (Payload(mode="hidden", precision=section.precision or "float16"),)
        case "top_k":
            return (top_k,)
        case "sampled":
            return (sampled,)
        case "auto":
            dense = _dense(setup)
            return (*dense, top_k, sampled) if _may_be_sparse(setup.config) else dense


def _dense(setup: RunSetup) -> tuple[Payload, ...]:
    if setup.labels is not None and setup.num_classes <= _FEW_CLASSES:
        return (Payload(mode="logits", precision="exact"),)
    return tuple(way for way in modes_of(setup.config) if way.mode not in SPARSE_MODES)


def _may_be_sparse(config: RunConfig) -> bool:
    # Weights by score, and some losses, need the scores of all classes.
    weights = config.teacher_weights
    is_by_score = weights is not None and weights.is_by_score
    return config.task.endswith("_lm") and not is_by_score and not against_sparse(config.losses)


def modes_of(config: RunConfig) -> tuple[Payload, ...]:
    """Return the ways to keep outputs that are compared before a choice.

    All scores of a vocabulary are not among them: hidden states and a head say the same in less.
    """
    if not config.task.endswith("_lm"):
        return tuple(Payload(mode="logits", precision=p) for p in ("exact", "float16"))
    return (
        Payload(mode="hidden", precision="exact"),
        Payload(mode="hidden", precision="float16"),
        Payload(mode="hidden", precision="int8"),
        *(Payload(mode="top_k", size=size) for size in (16, 64, 256)),
        *(Payload(mode="sampled", size=size) for size in (16, 64, 256)),
    )
