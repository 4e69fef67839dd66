"""How large two models are, what each way to place the teacher costs, which layers compare."""

from collections.abc import Iterator

from raykd.errors import ModelError
from raykd.models.internals import require_product_scores
from raykd.models.labels import label_list
from raykd.models.parts import num_layers
from raykd.planning.memory import frozen_bytes, trained_bytes
from raykd.planning.pair.finding import Pair, PairFinding

_ROWS = 16
"""Of the micro-batch that memory is estimated for: the default of train.micro_batch_size."""

_MOST_TOKENS = 512
"""In each of its rows, where no data says how long they are."""

_SCORE_BYTES, _HIDDEN_BYTES = 4, 2
"""Of a number in cached outputs: scores in float32, hidden states in 16 bits."""


def dtype(pair: Pair) -> Iterator[PairFinding]:
    """Say in which precision the weights are stored."""
    stored = pair.teacher.stored_dtypes
    is_narrow = bool(stored) and "float32" not in stored
    yield PairFinding(
        name="stored weights",
        teacher=", ".join(stored) or "unknown",
        student=", ".join(pair.student.stored_dtypes) or "unknown",
        advice=f"teachers.NAME.dtype={stored[0]} loses nothing" if is_narrow else "",
    )


def parameters(pair: Pair) -> Iterator[PairFinding]:
    """Count the parameters."""
    if not _both_serve(pair):
        return
    teacher, student = (c.plan(pair.task).parameters for c in (pair.teacher, pair.student))
    yield PairFinding(
        name="parameters",
        teacher=f"{teacher.total:,}",
        student=f"{student.total:,}",
        advice=f"the student has {student.total / teacher.total:.0%}; of its layers "
        f"{student.layers / teacher.layers:.0%}",
    )


def memory(pair: Pair) -> Iterator[PairFinding]:
    """Estimate what a worker needs for each, with the teacher in it, and what a cache takes."""
    if not _both_serve(pair):
        return
    tokens = pair.longest_row or _MOST_TOKENS
    teacher, student = pair.teacher.plan(pair.task), pair.student.plan(pair.task)
    for name in ("float32", "bfloat16"):
        yield PairFinding(
            name=f"memory, {name}",
            teacher=_gigabytes(frozen_bytes(teacher, rows=_ROWS, tokens=tokens, dtype=name)),
            student=_gigabytes(trained_bytes(student, rows=_ROWS, tokens=tokens, dtype=name)),
            advice=f"side by side in a worker, {_ROWS} x {tokens} tokens at a time",
        )
    hidden_size = teacher.config.hidden_size
    num_classes = len(label_list(teacher.config)) if pair.classifies else pair.vocab_size
    num_classes = num_classes or teacher.config.vocab_size
    per_million = {
        "scores": num_classes * _SCORE_BYTES * 1_000_000,
        "hidden states": hidden_size * _HIDDEN_BYTES * 1_000_000,
    }
    for name, size in per_million.items():
        yield PairFinding(
            name=f"cached {name}",
            teacher=_gigabytes(size),
            student="-",
            advice="per million scored positions, in place of a teacher in the worker",
        )


def layers(pair: Pair) -> Iterator[PairFinding]:
    """Say which losses on layers the two shapes allow."""
    configs = (pair.teacher.config, pair.student.config)
    possible, impossible = _layer_losses(pair)
    shapes = [
        f"{num_layers(config)} layers of {config.hidden_size}, {config.num_attention_heads} heads"
        for config in configs
    ]
    yield PairFinding(
        name="layers",
        teacher=shapes[0],
        student=shapes[1],
        advice="; ".join(
            [f"losses possible: {', '.join(possible) or 'on logits only'}", *impossible]
        ),
    )


def _layer_losses(pair: Pair) -> tuple[list[str], list[str]]:
    """Return the losses on layers that are possible, and why the others are not."""
    teacher, student = pair.teacher.config, pair.student.config
    possible, impossible = [], []
    is_deeper = num_layers(student) > num_layers(teacher)
    if is_deeper:
        impossible.append("the student is deeper: list hidden_states.layers yourself")
    else:
        widths = (student.hidden_size, teacher.hidden_size)
        projected = "" if widths[0] == widths[1] else f" (projected {widths[0]} to {widths[1]})"
        possible.append(f"hidden_states{projected}")
    if student.num_attention_heads != teacher.num_attention_heads:
        impossible.append("attention_scores needs equally many heads")
    elif reason := _no_scores(pair):
        impossible.append(reason)
    elif not is_deeper:
        possible.append("attention_scores")
    heads = student.num_attention_heads
    if teacher.hidden_size % heads or student.hidden_size % heads:
        impossible.append("attention_relations needs num_heads that divide both widths")
    else:
        possible.append("attention_relations")
    return possible, impossible


def _no_scores(pair: Pair) -> str | None:
    try:
        for candidate in (pair.teacher, pair.student):
            require_product_scores(candidate.config, where=candidate.source)
    except ModelError as error:
        return str(error)
    return None


def _both_serve(pair: Pair) -> bool:
    return pair.teacher.serves(pair.task) and pair.student.serves(pair.task)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.2f} GB"
