"""Entities in sequences of word labels such as O, B-PER, I-PER.

The rules are conlleval's, which seqeval follows by default: an entity begins at a B- or
S- label, after an E- or S- label, at a change of type, and after O; it lasts until the next
one begins, an O comes or the row ends. An I- without a B- before it begins an entity.
"""

import re
from dataclasses import dataclass

import torch
from torch.nn import functional as F

_LABEL = re.compile(r"[BIES]-.+")
_OUTSIDE = "O"


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityCounts:
    """Contributions of each position to the numbers of entities, as booleans."""

    right_P: torch.Tensor
    """A predicted entity begins here that is a true one: same words, same type."""

    predicted_P: torch.Tensor
    """A predicted entity begins here."""

    true_P: torch.Tensor
    """A true entity begins here."""


def are_entity_labels(class_names: tuple[str, ...]) -> bool:
    """Tell whether every class is O or begins with B-, I-, E- or S-, and some do."""
    return why_no_entities(class_names) is None


def why_no_entities(class_names: tuple[str, ...]) -> str | None:
    """Say in a line why classes are no entity labels; None where they are."""
    tagged = [name for name in class_names if name != _OUTSIDE]
    if not tagged:
        return "no entity F1: no class begins with B-, I-, E- or S-"
    for name in tagged:
        if not _LABEL.fullmatch(name):
            return f"no entity F1: class {name!r} is not O, and begins with none of B-, I-, E-, S-"
    return None


def count_entities(
    predicted_P: torch.Tensor,
    labels_P: torch.Tensor,
    *,
    examples_P: torch.Tensor,
    class_names: tuple[str, ...],
) -> EntityCounts:
    """Compare the entities of predicted and true classes.

    Args:
        predicted_P: Predicted class of each word, the words of a row one after the other.
        labels_P: True class of each word.
        examples_P: The row of each word; an entity never crosses rows.
        class_names: For which ``are_entity_labels`` holds.
    """
    is_first_P = torch.ones_like(examples_P, dtype=torch.bool)
    is_first_P[1:] = examples_P[1:] != examples_P[:-1]
    predicted = _spans(predicted_P, is_first_P, class_names)
    true = _spans(labels_P, is_first_P, class_names)
    is_right_P = (
        predicted.begins_P
        & true.begins_P
        & (predicted.types_P == true.types_P)
        & (predicted.ends_P == true.ends_P)
    )
    return EntityCounts(right_P=is_right_P, predicted_P=predicted.begins_P, true_P=true.begins_P)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Spans:
    begins_P: torch.Tensor
    """Whether an entity begins at each word."""

    ends_P: torch.Tensor
    """Where the entity that begins at a word is over: the index after its last word."""

    types_P: torch.Tensor


def _spans(classes_P: torch.Tensor, is_first_P: torch.Tensor, names: tuple[str, ...]) -> _Spans:
    kinds = sorted({name[2:] for name in names})
    types_P = classes_P.new_tensor([kinds.index(name[2:]) for name in names])[classes_P]
    is_inside_P = _has_prefix(classes_P, "BIES", names)
    is_last_P = ~is_inside_P | _has_prefix(classes_P, "ES", names)
    breaks_P = (
        is_first_P
        # roll puts the last word before the first, which begins a row and so is a break anyway.
        | is_last_P.roll(1)
        | _has_prefix(classes_P, "BS", names)
        | (types_P != types_P.roll(1))
    )
    return _Spans(
        begins_P=is_inside_P & breaks_P,
        ends_P=_next_index(breaks_P | ~is_inside_P),
        types_P=types_P,
    )


def _has_prefix(classes_P: torch.Tensor, prefixes: str, names: tuple[str, ...]) -> torch.Tensor:
    has_prefix_K = [name[0] in prefixes for name in names]
    return torch.tensor(has_prefix_K, device=classes_P.device)[classes_P]


def _next_index(is_P: torch.Tensor) -> torch.Tensor:
    """Return, for each index, the next one where something holds, or P."""
    indices_P = torch.arange(len(is_P), device=is_P.device).where(is_P, len(is_P))
    # A running minimum from the end: the nearest marked index after each.
    padded = F.pad(indices_P, (0, 1), value=len(is_P))
    return padded.flip(0).cummin(0).values.flip(0)[1:]
