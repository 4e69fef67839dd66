"""The losses over a vocabulary alone: raykd's, chunk by chunk, beside scores that are all there.

    python tests/bench/vocabulary.py [--small] [--rounds N] [--words V] [--device cpu|cuda]

Both ways begin with the hidden states of student and teacher, and end with the gradients of the
student's hidden states and head: cross entropy and forward KL at temperature 2 in float32. The
first table compares them in turn, on one thread where there is no GPU. The second one has the
memory that each holds beyond its inputs and gradients as the positions grow: on the CPU every
figure is that of a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from raykd.config.schema.losses import CrossEntropyConfig, ForwardKLConfig, LossesConfig
from raykd.losses.terms import build_terms
from raykd.scores import ProjectedScores, weighted_sums
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

WIDTH = 256
TEMPERATURE = 2.0

Way = Callable[["Problem"], float]


class Problem:
    """Hidden states, heads and labels; the gradients are left in the student's tensors."""

    def __init__(self, positions: int, words: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)

        def drawn(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator).to(device)

        self.student_PD = drawn(positions, WIDTH).requires_grad_()
        self.teacher_PD = drawn(positions, WIDTH)
        self.student_KD = (drawn(words, WIDTH) / WIDTH**0.5).requires_grad_()
        self.teacher_KD = drawn(words, WIDTH) / WIDTH**0.5
        self.labels_P = torch.randint(words, (positions,), generator=generator).to(device)

    def clear(self) -> None:
        """Forget the gradients."""
        self.student_PD.grad = self.student_KD.grad = None


def whole(problem: Problem) -> float:
    """Take the losses of scores that are all there, as trainers do."""
    student_PK = F.linear(problem.student_PD, problem.student_KD)
    with torch.no_grad():
        teacher_PK = F.linear(problem.teacher_PD, problem.teacher_KD)
    soft = F.kl_div(
        F.log_softmax(student_PK / TEMPERATURE, dim=-1),
        F.softmax(teacher_PK / TEMPERATURE, dim=-1),
        reduction="sum",
    )
    loss = F.cross_entropy(student_PK, problem.labels_P, reduction="sum")
    loss = loss + soft * TEMPERATURE**2
    loss.backward()
    return float(loss.detach())


def in_chunks(problem: Problem) -> float:
    """Take the same losses as raykd does."""
    terms = build_terms(
        LossesConfig(
            cross_entropy=CrossEntropyConfig(),
            forward_kl=ForwardKLConfig(temperature=str(TEMPERATURE)),
        )
    )
    student = ProjectedScores(features_PD=problem.student_PD, weight_KD=problem.student_KD)
    teacher = ProjectedScores(features_PD=problem.teacher_PD, weight_KD=problem.teacher_KD)

    def sums(logits_CK: torch.Tensor, chosen: slice) -> torch.Tensor:
        teacher_CK, labels_C = teacher.logits(chosen), problem.labels_P[chosen]
        return torch.stack(
            [
                term.per_position(logits_CK, target, **term.settings_at(0.0)).sum()
                for term, target in zip(terms, (labels_C, teacher_CK), strict=True)
            ]
        )

    loss, _ = weighted_sums(student, sums, [1.0, 1.0])
    loss.backward()
    return float(loss.detach())


WAYS: dict[str, Way] = {"all scores": whole, "in chunks": in_chunks}


def main() -> int:
    """Print both tables, or one figure where a parent process asks for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--held", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    words = options.words or (5_000 if options.small else 128_000)
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    if options.held:
        way, positions = options.held
        print(json.dumps(held_bytes(WAYS[way], Problem(int(positions), words, device))))
        return 0
    console = Console()
    sizes = (128, 512) if options.small else (256, 1_024)
    rounds = 1 if options.small else options.rounds
    console.print(speed_table(Problem(sizes[1], words, device), rounds=rounds))
    held = partial(_held_apart, options.device, words)
    console.print(memory_table({way: [held(way, size) for size in sizes] for way in WAYS}, sizes))
    return 0


def speed_table(problem: Problem, *, rounds: int) -> Table:
    """Return the seconds of both ways, in turn; losses that differ would show."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    losses = {}
    for number in range(rounds + 1):
        for name, way in WAYS.items():
            problem.clear()
            _synchronise(problem.student_PD.device)
            started_at = time.perf_counter()
            losses[name] = way(problem)
            _synchronise(problem.student_PD.device)
            if number:  # the first time, memory and kernels are made ready
                seconds[name].append(time.perf_counter() - started_at)
    positions, words = len(problem.labels_P), len(problem.student_KD)
    table = Table(title=f"cross entropy and forward KL, {positions} positions, {words:,} words")
    for column in ("way", "ms", "x", "loss"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, found in seconds.items():
        pairs = zip(seconds["all scores"], found, strict=True)
        ratio = statistics.median(first / second for first, second in pairs)
        milliseconds = 1_000 * statistics.median(found)
        table.add_row(name, f"{milliseconds:.0f}", f"{ratio:.2f}", f"{losses[name]:.2f}")
    return table


def memory_table(held: dict[str, list[int]], sizes: tuple[int, ...]) -> Table:
    """Return what each way holds beyond what goes in and comes out."""
    table = Table(title="memory beyond inputs and gradients, MiB")
    table.add_column("way")
    for size in sizes:
        table.add_column(f"{size} positions", justify="right")
    for way, found in held.items():
        table.add_row(way, *(f"{num_bytes / 2**20:.0f}" for num_bytes in found))
    return table


def held_bytes(way: Way, problem: Problem) -> int:
    """Return the peak of one step of a way, less what is there without it."""
    of_gradients: int = 4 * (problem.student_PD.numel() + problem.student_KD.numel())
    if problem.student_PD.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        way(problem)
        return torch.cuda.max_memory_allocated() - before - of_gradients
    # Making the inputs took more than they hold: the peak begins anew here.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    way(problem)
    return _peak_bytes() - before - of_gradients


def _peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1_024 * int(peak.split()[1])


def _held_apart(device: str, words: int, way: str, positions: int) -> int:
    command = [sys.executable, str(Path(__file__)), "--device", device, "--words", str(words)]
    command += ["--held", way, str(positions)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
