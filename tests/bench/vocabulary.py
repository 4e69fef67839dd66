"""The losses over a vocabulary alone: raykd's, chunk by chunk, beside scores that are all there.

    python tests/bench/vocabulary.py [--small] [--rounds N] [--words V] [--device cpu|cuda]
                                    [--positions P] [--bfloat16]

All ways begin with the hidden states of student and teacher, and end with the gradients of the
student's hidden states and head: cross entropy and forward KL at temperature 2. The first table
compares them in turn: by CPU seconds of one thread, or on a GPU by wall seconds; the first time
counts apart, as it compiles. The second one has the memory that each holds beyond its inputs and
gradients as the positions grow: on the CPU every figure is that of a process of its own.
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
from raykd.batch import ModelOutputs, idle_batch
from raykd.config.schema.losses import CrossEntropyConfig, ForwardKLConfig, LossesConfig
from raykd.losses.terms import build_terms
from raykd.losses.weighted_sums import weighted_sums
from raykd.machine.allocator import keep_large_blocks
from raykd.scores import ProjectedScores
from raykd.teachers.ensemble import TeacherSignal
from raykd.teachers.on_positions import OfBlock, OnPositions, compiled_of_block
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

WIDTH = 256
TEMPERATURE = 2.0

Way = Callable[["Problem"], float]


class Problem:
    """Hidden states, heads and labels; the gradients are left in the student's tensors."""

    def __init__(
        self, positions: int, words: int, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype
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
    device, dtype = problem.student_PD.device.type, problem.dtype
    with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        student_PK = F.linear(problem.student_PD, problem.student_KD)
        with torch.no_grad():
            teacher_PK = F.linear(problem.teacher_PD, problem.teacher_KD)
    student_PK, teacher_PK = student_PK.float(), teacher_PK.float()
    soft = F.kl_div(
        F.log_softmax(student_PK / TEMPERATURE, dim=-1),
        F.softmax(teacher_PK / TEMPERATURE, dim=-1),
        reduction="sum",
    )
    loss = F.cross_entropy(student_PK, problem.labels_P, reduction="sum")
    loss = loss + soft * TEMPERATURE**2
    loss.backward()
    return float(loss.detach())


def in_chunks(problem: Problem, compiled: OfBlock | None = None) -> float:
    """Take the same losses as raykd does."""
    losses = build_terms(
        LossesConfig(
            cross_entropy=CrossEntropyConfig(),
            forward_kl=ForwardKLConfig(temperature=str(TEMPERATURE)),
        )
    )
    student = ProjectedScores(
        features_PD=problem.student_PD, weight_KD=problem.student_KD, dtype=problem.dtype
    )
    teacher = ProjectedScores(
        features_PD=problem.teacher_PD, weight_KD=problem.teacher_KD, dtype=problem.dtype
    )

    signal = TeacherSignal(
        name="teacher",
        outputs=ModelOutputs(hidden_PD=problem.teacher_PD[:, :0], scores=teacher),
        batch=idle_batch(pad_id=0),
        positions_Q=None,
        weights_Q=None,
    )
    terms = OnPositions(
        terms=losses,
        signals=[signal],
        labels_P=problem.labels_P,
        progress=0.0,
        compiled=compiled,
    )
    loss, _ = weighted_sums(student, terms.sums, [1.0, 1.0])
    loss.backward()
    return float(loss.detach())


WAYS: dict[str, Way] = {
    "all scores": whole,
    "in chunks": in_chunks,
    "in chunks, compiled": partial(in_chunks, compiled=compiled_of_block()),
}


def main() -> int:
    """Print both tables, or one figure where a parent process asks for it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int)
    parser.add_argument("--positions", type=int, help="of the first table")
    parser.add_argument("--bfloat16", action="store_true", help="heads, as autocast has them")
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
    keep_large_blocks()  # as every run does
    console = Console()
    sizes = (128, 512) if options.small else (256, 1_024)
    rounds = 1 if options.small else options.rounds
    dtype = torch.bfloat16 if options.bfloat16 else None
    problem = Problem(options.positions or sizes[1], words, device, dtype)
    console.print(speed_table(problem, rounds=rounds))
    held = partial(_held_apart, options.device, words)
    console.print(memory_table({way: [held(way, size) for size in sizes] for way in WAYS}, sizes))
    return 0


def speed_table(problem: Problem, *, rounds: int) -> Table:
    """Return the seconds of all ways, in turn; losses that differ would show."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    first: dict[str, float] = {}
    losses = {}
    device = problem.student_PD.device
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for number in range(rounds + 1):
        for name, way in WAYS.items():
            problem.clear()
            _synchronise(device)
            started_at, started_on_clock = time.perf_counter(), clock()
            losses[name] = way(problem)
            _synchronise(device)
            if number:
                seconds[name].append(clock() - started_on_clock)
            else:  # memory and kernels are made ready
                first[name] = time.perf_counter() - started_at
    positions, words = len(problem.labels_P), len(problem.student_KD)
    table = Table(title=f"cross entropy and forward KL, {positions} positions, {words:,} words")
    for column in ("way", "ms", "x", "first s", "loss"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, found in seconds.items():
        pairs = zip(seconds["all scores"], found, strict=True)
        ratio = statistics.median(one / other for one, other in pairs)
        milliseconds = 1_000 * statistics.median(found)
        table.add_row(
            name,
            f"{milliseconds:.0f}",
            f"{ratio:.2f}",
            f"{first[name]:.1f}",
            f"{losses[name]:.2f}",
        )
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
