"""The least that a step of a case takes on this machine, in any exact way.

That is its products, at the rate that this machine reaches for their shapes, and the bytes that
have to pass through its memory, at the bandwidth of that. Products are those that raykd counts the
operations of: no padding, heads at scored positions alone, attention over all pairs of tokens of a
row. The bytes are those of AdamW, which reads each parameter, its gradient and two moments and
writes all but the gradient; and in bfloat16 those of a copy of what is multiplied, once a step.
Nothing else counts: scores need not leave the cache, and exponentials, norms and activations are
no products.
"""

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from raykd.batch import Batch
from raykd.machine.allocator import keep_large_blocks
from raykd.machine.cores import has_bfloat16
from raykd.models.scored import ScoredModel
from raykd.planning.flops import full_rows, model_of_shapes
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig

from tests.bench.rivals.cases import Case, Material
from tests.bench.rivals.rows import NO_LABEL, load_rows, num_tokens

_ATEN = torch.ops.aten
_PRODUCTS = (_ATEN.mm, _ATEN.addmm, _ATEN.bmm, _ATEN.baddbmm)
"""Operators that multiply their last two arguments."""

_REPEATS = 3
_BLOCK_BYTES = 512 << 20
"""Beyond all caches."""

_ADAMW_BYTES = 7 * 4
"""For each parameter: three values read and written, the gradient read."""

_COPY_BYTES = 4 + 2
"""For each parameter that is multiplied: float32 read, bfloat16 written."""

_Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes and strides."""

_Product = tuple[_Layout, _Layout]
"""What is multiplied: two matrices, or a batch of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWork:
    """What no exact way of a step avoids."""

    products: Mapping[str, Counter[_Product]]
    """By part: the student, forward and backward; the teacher's layers; the teacher's head."""

    num_parameters: int
    """Of the student."""

    num_multiplied: int
    """Those that products read: not embeddings that are looked up only."""

    def num_bytes(self, dtype: torch.dtype) -> int:
        """Return what passes through memory where products are of a type."""
        copied = _COPY_BYTES * self.num_multiplied if dtype != torch.float32 else 0
        return _ADAMW_BYTES * self.num_parameters + copied


class _Watch(TorchDispatchMode):
    """Counts the products of all that runs in it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: Counter[_Product] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket in _PRODUCTS:
            left, right = ((tuple(each.shape), each.stride()) for each in args[-2:])
            self.products[left, right] += 1
        return func(*args, **(kwargs or {}))


def step_work(case: Case, material: Material) -> StepWork:
    """Return the mean of what the measured steps of a case have to do."""
    steps = load_rows(material.rows)[case.num_warm_up_steps :]
    num_rows = case.batch_rows * len(steps)
    labels = torch.cat([row["labels"].flatten() for step in steps for row in step.rows])
    scored = int((labels != NO_LABEL).sum())
    if case.task == "causal_lm":
        # Nothing is told of the first token of a row.
        scored -= num_rows
    shape = {
        "rows": case.batch_rows,
        "tokens": round(sum(map(num_tokens, steps)) / num_rows),
        "positions": round(scored / len(steps)),
    }
    student, layers, head = _Watch(), _Watch(), _Watch()
    with torch.device("meta"):
        learner, teacher = (
            model_of_shapes(AutoConfig.from_pretrained(path), cast("Any", case.task))
            for path in (material.student, material.teacher)
        )
        with student:
            logits_PK = learner.scores(learner.hidden(_batch(learner, shape))).logits()
            logits_PK.backward(torch.empty_like(logits_PK))
        with torch.no_grad(), layers:
            hidden_PD = teacher.hidden(_batch(teacher, shape))
        with torch.no_grad(), head:
            teacher.scores(hidden_PD).logits()
    multiplying = [each for each in learner.modules() if not isinstance(each, torch.nn.Embedding)]
    return StepWork(
        products={
            "student": student.products,
            "teacher's layers": layers.products,
            "teacher's head": head.products,
        },
        num_parameters=sum(each.numel() for each in learner.parameters()),
        num_multiplied=sum(
            each.numel() for module in multiplying for each in module.parameters(recurse=False)
        ),
    )


def _batch(model: ScoredModel, shape: Mapping[str, int]) -> Batch:
    return full_rows(model.model.config.model_type, **shape)


def flops(products: Counter[_Product]) -> int:
    """Return the operations of products, two for each multiplication and addition."""
    return sum(
        2 * math.prod(left_sizes) * right_sizes[-1] * times
        for ((left_sizes, _), (right_sizes, _)), times in products.items()
    )


def seconds(products: Counter[_Product], dtype: torch.dtype) -> float:
    """Return the CPU seconds of products of a type, each one measured alone."""
    return sum(times * _seconds(product, dtype) for product, times in products.items())


def _seconds(product: _Product, dtype: torch.dtype) -> float:
    left, right = (
        torch.empty_strided(*layout, dtype=dtype).normal_(std=0.02) for layout in product
    )
    multiply = torch.bmm if left.ndim == 3 else torch.mm
    out = multiply(left, right)
    return _median(lambda: multiply(left, right, out=out))


def bytes_per_second() -> float:
    """Return the bytes that one thread reads and writes in a CPU second, of a copy."""
    source, target = torch.ones(2, _BLOCK_BYTES // 4).unbind()
    return 2 * _BLOCK_BYTES / _median(lambda: target.copy_(source))


def _median(work: Callable[[], object]) -> float:
    def once() -> float:
        started_at = time.process_time()
        work()
        return time.process_time() - started_at

    return statistics.median(once() for _ in range(_REPEATS))


def measured(case: Case, material: Material) -> dict[str, Any]:
    """Return what a step has to do in each precision of this CPU, and for how long, as JSON."""
    keep_large_blocks()
    work, bandwidth = step_work(case, material), bytes_per_second()
    dtypes = (torch.float32, torch.bfloat16) if has_bfloat16() else (torch.float32,)
    return {
        str(dtype).removeprefix("torch."): {
            "seconds": {name: seconds(each, dtype) for name, each in work.products.items()}
            | {"memory": work.num_bytes(dtype) / bandwidth},
            "flops": {name: flops(each) for name, each in work.products.items()},
            "bytes": work.num_bytes(dtype),
        }
        for dtype in dtypes
    }
