"""Which library multiplies float32 matrices on this CPU: chosen once per run, by trying.

torch has two for CPUs, MKL and oneDNN, and takes MKL for float32. Where oneDNN is told that
bfloat16 will do it takes the product over; CPUs that have no faster unit for it than for float32
then compute in float32 all the same, some of them faster than MKL. Others really round: so each
worker compares products of the run's own shapes to float64 first.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

MAX_ERROR = 1e-6
"""Relative to float64, in the Frobenius norm; float32 itself is at 1e-7 to 4e-7."""

_LEAST_GAIN = 1.1
"""Times that oneDNN has to be faster to be taken."""

_LEAST_WEIGHTS = 1_000_000
"""In the linear maps of a run; with fewer, products are a small part of a step."""

_MOST_SHAPES = 3
_MOST_ROWS = 256
_MOST_WIDTH = 2048
"""Bounds of what is tried: a fraction of a second for small models, about one for large."""

_ROUNDS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A linear map, applied to so many rows."""

    rows: int
    inputs: int
    outputs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What trying oneDNN has found."""

    error: float
    """The largest of it, relative to float64."""

    speed: float
    """Times as fast as the default; 1 where it is the very same code."""

    @property
    def is_better(self) -> bool:
        """Whether it is to be taken: right, and faster."""
        return self.error < MAX_ERROR and self.speed >= _LEAST_GAIN


def shapes_of(models: Iterable[torch.nn.Module], *, rows: int) -> tuple[Shape, ...]:
    """Return the shapes that cost the models of a run most; none where they are small.

    Args:
        models: Whose linear maps in float32 count.
        rows: Tokens in a micro-batch.
    """
    weights = Counter(
        tuple(min(size, _MOST_WIDTH) for size in module.weight.shape)
        for model in models
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.weight.dtype == torch.float32
    )
    sizes = {shape: shape[0] * shape[1] * count for shape, count in weights.items()}
    if sum(sizes.values()) < _LEAST_WEIGHTS:
        return ()
    largest = sorted(sizes, key=lambda shape: (-sizes[shape], shape))[:_MOST_SHAPES]
    return tuple(
        Shape(rows=min(rows, _MOST_ROWS), inputs=inputs, outputs=outputs)
        for outputs, inputs in largest
    )


def tried(shapes: Iterable[Shape]) -> Trial:
    """Multiply as a training step does, in both ways, at some shapes."""
    error, seconds = 0.0, {False: 0.0, True: 0.0}
    for shape in shapes:
        operands = _operands(shape)
        default, other = (_products(operands, onednn=onednn) for onednn in (False, True))
        if all(torch.equal(a, b) for a, b in zip(default, other, strict=True)):
            continue
        exact = _multiplied([tensor.double() for tensor in operands])
        error = max(error, *(_error(a, b) for a, b in zip(other, exact, strict=True)))
        if error >= MAX_ERROR:
            break
        for onednn, found in _timed(operands).items():
            seconds[onednn] += found
    return Trial(error=error, speed=seconds[False] / seconds[True] if seconds[True] else 1.0)


@contextmanager
def multiplying(*, onednn: bool) -> Iterator[None]:
    """Have oneDNN multiply float32 matrices while the block runs, or the default library."""
    before = products()
    set_products("bf16" if onednn else "none")
    try:
        yield
    finally:
        set_products(before)


def products() -> str:
    """Return how float32 matrices are multiplied now, in torch's words."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's own
    return str(settings.fp32_precision)


def set_products(precision: str) -> None:
    """Multiply as ``products`` has said."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch's own
    settings.fp32_precision = precision


def _operands(shape: Shape) -> list[torch.Tensor]:
    """Return inputs, weights and the gradient of the outputs, alike every time."""
    generator = torch.Generator().manual_seed(0)
    sizes = (shape.rows, shape.inputs), (shape.outputs, shape.inputs), (shape.rows, shape.outputs)
    return [torch.randn(size, generator=generator) for size in sizes]


def _multiplied(operands: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return a linear map's outputs, and the gradients of its inputs and its weights."""
    inputs, weights, gradient = operands
    return [inputs @ weights.T, gradient @ weights, gradient.T @ inputs]


def _products(operands: list[torch.Tensor], *, onednn: bool) -> list[torch.Tensor]:
    with multiplying(onednn=onednn):
        return _multiplied(operands)


def _error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def _timed(operands: list[torch.Tensor]) -> dict[bool, float]:
    """Return the CPU seconds of this thread in the fastest of some rounds, by turns.

    Seconds of a clock are those of others on the machine too, and runs that start beside one
    another would take different libraries.
    """
    fastest: dict[bool, float] = {}
    for _ in range(_ROUNDS):
        for onednn in (False, True):
            started_at = time.thread_time()
            _products(operands, onednn=onednn)
            seconds = time.thread_time() - started_at
            fastest[onednn] = min(seconds, fastest.get(onednn, seconds))
    return fastest
