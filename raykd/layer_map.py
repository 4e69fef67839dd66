"""Which source layer each student layer follows, and where a tensor stands in a model.

Pure arithmetic and names, shared by the methods that start a student and by the losses that
compare its layers with a teacher's. Layers count from 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Pattern = Literal["even", "first", "last", "spread"]
Growth = Literal["repeat_last", "stack", "interleave"]
Part = Literal["embeddings", "encoder", "head"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a tensor stands in a model, in words that models of one family share."""

    part: Part
    """The encoder is every layer and what belongs to none of them, such as a final norm."""

    layer: int | None
    """Layer of an encoder tensor; None outside the layers."""

    name: str
    """Name within the layer, or within the part."""


def layer_map(
    pattern: Pattern, *, num_student_layers: int, num_source_layers: int
) -> tuple[int, ...]:
    """Return the source layer of each student layer.

    With s student and S source layers, student layer i follows

        even    round((i + 1) * S / s) - 1: the last of each of s equal blocks. For S = 2s
                that is layer 2i counted from 1, as in The Privileged Students.
        first   i
        last    S - s + i
        spread  round(i * (S - 1) / (s - 1)): the first, the last, and evenly between; a
                single layer follows the first.

    Raises:
        ValueError: The student is deeper than the source, or has no layer.
    """
    student, source = num_student_layers, num_source_layers
    if not 1 <= student <= source:
        message = (
            f"a student of {student} layers cannot follow a source of {source} layers layer by "
            "layer: give it at least one layer and at most as many as the source, or list layers"
        )
        raise ValueError(message)
    if pattern == "even":
        return tuple(_rounded((i + 1) * source, student) - 1 for i in range(student))
    if pattern == "spread":
        gaps = max(student - 1, 1)
        return tuple(_rounded(i * (source - 1), gaps) for i in range(student))
    first = 0 if pattern == "first" else source - student
    return tuple(range(first, first + student))


def growth_map(
    depth: Growth, *, num_student_layers: int, num_source_layers: int
) -> tuple[int, ...]:
    """Return the source layer of each layer of a student that is at least as deep.

    With s student and S source layers, student layer l follows

        repeat_last  min(l, S - 1): the layers, then the last one again (DWT paper, FNA)
        stack        l mod S: all layers again from the first (StackBERT)
        interleave   floor(l * S / s): each layer several times in place

    Every source layer is followed, and at equal depth layer l follows layer l.

    Raises:
        ValueError: The student is shallower than the source, or the source has no layer.
    """
    student, source = num_student_layers, num_source_layers
    if not 1 <= source <= student:
        message = (
            f"a student of {student} layers cannot grow from a source of {source} layers: give it "
            "at least as many, or use copy_layers, select or subclone"
        )
        raise ValueError(message)
    if depth == "repeat_last":
        return tuple(min(layer, source - 1) for layer in range(student))
    if depth == "stack":
        return tuple(layer % source for layer in range(student))
    return tuple(layer * source // student for layer in range(student))


def validate(layers: Sequence[int], *, num_student_layers: int, num_source_layers: int) -> None:
    """Check a list of source layers, one for each student layer.

    Raises:
        ValueError: There are too few or too many, or one is not a layer of the source.
    """
    if len(layers) != num_student_layers:
        message = (
            f"layers {list(layers)} must name one source layer for each of the student's "
            f"{num_student_layers} layers, got {len(layers)}"
        )
        raise ValueError(message)
    if outside := [layer for layer in layers if not 0 <= layer < num_source_layers]:
        message = (
            f"layers {list(layers)} names {outside}, but the source has layers 0 to "
            f"{num_source_layers - 1}"
        )
        raise ValueError(message)


def _rounded(numerator: int, denominator: int) -> int:
    """Round a fraction to the nearest whole, halves up: round() would send them to even."""
    return (2 * numerator + denominator) // (2 * denominator)
