"""The losses of a vocabulary alone, beside what the device multiplies and moves in a second.

Cross entropy and forward KL, from hidden states to the gradients of the student's hidden states
and head. The products are four: the scores of both models, and what the gradient of the scores
gives for features and head. The bytes are those of the scores in bfloat16: those of both models
written and read once, the gradient written once and read twice. A way that keeps scores in a
wider type, or reads them more often, moves more than is counted. The floor is the time of these
products and of these bytes, one after the other.
"""

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from raykd.machine.devices import peak_memory_bytes, products_per_second

from tests.bench.device.head import TEMPERATURE, Problem, drawn, in_chunks, whole
from tests.bench.device.setting import Part, Row, Setting, forget_peak, median_seconds, reason_of

_DTYPE = torch.bfloat16
_SCORE_PASSES = 7
_COPIED_BYTES, _COPIED_BYTES_SMALL = 2 << 30, 64 << 20

Loss = Callable[[], torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """Of one way."""

    seconds: float
    """Forward and backward, the median."""

    peak_bytes: int
    loss: float


def roofline(setting: Setting) -> list[Row]:
    """Take every way over the same problem; each has its head's weight in float32, as a run."""
    positions, words, width = (256, 2_000, 64) if setting.is_small else (8_192, 50_257, 768)
    # The teacher's numbers are in the type of the products, as with teachers.NAME.dtype.
    problem = drawn(positions, words, width).on(setting.device, torch.float32, teacher=_DTYPE)
    rounds = 3 if setting.is_small else 20
    products = 4 * 2 * positions * words * width
    moved = _SCORE_PASSES * _DTYPE.itemsize * positions * words
    rate = products_per_second(setting.device, _DTYPE, torch.get_num_threads())
    bandwidth = bytes_per_second(setting)
    alone = products_seconds(problem, rounds=rounds)
    floor = alone + moved / bandwidth
    rows: list[Row] = [
        {
            "way": f"products alone, {positions:,} x {words:,} x {width}",
            "ms": 1e3 * alone,
            "TFLOP/s": products / alone / 1e12,
            "of the device's": products / alone / rate,
        },
        {
            "way": "bytes of the scores alone",
            "ms": 1e3 * moved / bandwidth,
            "GB/s": bandwidth / 1e9,
            "of a copy's": 1.0,
        },
    ]
    for name, way in WAYS.items():
        try:
            found = _measured(way(problem), problem, rounds=rounds)
        except Exception as error:  # noqa: BLE001  one way that cannot run leaves the others
            rows.append({"way": name, "note": reason_of(error)})
            continue
        rows.append(
            {
                "way": name,
                "ms": 1e3 * found.seconds,
                "TFLOP/s": products / found.seconds / 1e12,
                "of the device's": products / found.seconds / rate,
                "GB/s": moved / found.seconds / 1e9,
                "of a copy's": moved / found.seconds / bandwidth,
                "of the floor": floor / found.seconds,
                "peak GB": found.peak_bytes / 1e9,
                "loss": found.loss,
            }
        )
    return rows


def all_scores(problem: Problem) -> Loss:
    """Return the usual way under autocast."""

    def loss() -> torch.Tensor:
        with torch.autocast(problem.labels_P.device.type, dtype=_DTYPE):
            return whole(problem)

    return loss


def liger(problem: Problem) -> Loss:
    """Return Liger's chunked distillation loss under autocast; beta of 0 is forward KL."""
    fused = importlib.import_module("liger_kernel.chunked_loss").LigerFusedLinearJSDLoss(
        weight_hard_loss=1.0,
        weight_soft_loss=TEMPERATURE**2,
        beta=0.0,
        temperature=TEMPERATURE,
    )

    def loss() -> torch.Tensor:
        with torch.autocast(problem.labels_P.device.type, dtype=_DTYPE):
            found: torch.Tensor = fused(
                problem.student_PD,
                problem.student_KD,
                problem.teacher_PD,
                problem.teacher_KD,
                problem.labels_P,
            )
        return found

    return loss


WAYS: dict[str, Callable[[Problem], Loss]] = {
    "all scores": all_scores,
    "raykd": functools.partial(in_chunks, dtype=_DTYPE),
    "Liger, compiled": liger,
}


def bytes_per_second(setting: Setting) -> float:
    """Return what a copy within the device's memory moves: bytes that are read and written."""
    size = _COPIED_BYTES_SMALL if setting.is_small else _COPIED_BYTES
    source = torch.ones(size, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    return 2 * size / median_seconds(lambda: target.copy_(source), setting.device, rounds=10)


def products_seconds(problem: Problem, *, rounds: int) -> float:
    """Return the time of the four products alone, all scores at once."""
    features_PD, weight_KD = (
        each.detach().to(_DTYPE) for each in (problem.student_PD, problem.student_KD)
    )
    scores_PK = torch.empty(
        len(features_PD), len(weight_KD), dtype=_DTYPE, device=features_PD.device
    ).normal_()

    def products() -> None:
        torch.mm(features_PD, weight_KD.T, out=scores_PK)
        torch.mm(problem.teacher_PD, problem.teacher_KD.T, out=scores_PK)
        scores_PK @ weight_KD
        scores_PK.T @ features_PD

    return median_seconds(products, features_PD.device, rounds=rounds)


def _measured(loss: Loss, problem: Problem, *, rounds: int) -> _Found:
    device = problem.labels_P.device
    found = torch.zeros(())

    def step() -> None:
        nonlocal found
        problem.student_PD.grad = problem.student_KD.grad = None
        found = loss()
        found.backward()

    forget_peak(device)
    return _Found(
        seconds=median_seconds(step, device, rounds=rounds),
        peak_bytes=peak_memory_bytes(device),
        loss=float(found.detach()),
    )


PARTS: dict[str, Part] = {"roofline": roofline}
