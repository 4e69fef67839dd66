"""Are the paths of a GPU right? Each against the CPU, or against the plain path of the device."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import backward, step_counts
from raykd.distill.setup import read_setup
from raykd.distill.sharding import shard
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.models.gradients.embeddings import RowEmbedding
from torch.distributed import HashStore  # type: ignore[attr-defined]  # it does not say so
from torch.nn.parallel import DistributedDataParallel

from tests.bench.device import stored
from tests.bench.device.head import drawn, in_chunks, whole
from tests.bench.device.setting import Part, Row, Setting, check_row
from tests.bench.device.training import (
    BFLOAT16,
    CPU,
    FOUR_STEPS,
    ONE_GRADIENT,
    TASKS,
    Trained,
    configured,
    trained,
    with_dropout,
)

_WORDS = 50_257


def float32(setting: Setting) -> list[Row]:
    """Compare masked and causal language modelling with the CPU."""
    return [
        check_row(
            f"{task} in float32, against the CPU",
            trained(setting, setting.device, task=task).apart(_on_cpu(setting, task)),
            FOUR_STEPS,
        )
        for task in TASKS
    ]


def bfloat16(setting: Setting) -> list[Row]:
    """Compare autocast of the student, and a teacher in bfloat16, with float32 on the CPU."""
    changes = {
        "train": {"precision": "bfloat16"},
        "teachers": {"teacher": {"dtype": "bfloat16"}},
    }
    return [
        check_row(
            f"{task} in bfloat16, against float32 on the CPU",
            trained(setting, setting.device, task=task, changes=changes).apart(
                _on_cpu(setting, task)
            ),
            BFLOAT16,
        )
        for task in TASKS
    ]


def vocabulary(setting: Setting) -> list[Row]:
    """Compare the gradients of a vocabulary in chunks with autograd on all scores in float64."""
    return [
        _vocabulary_row(setting, torch.float32, ONE_GRADIENT),
        _vocabulary_row(setting, torch.bfloat16, BFLOAT16),
    ]


def _vocabulary_row(setting: Setting, dtype: torch.dtype, tolerance: float) -> Row:
    # More than one chunk on either device.
    problem = drawn(300 if setting.is_small else 3_000, _WORDS, 64 if setting.is_small else 256)
    expected = problem.on(CPU, torch.float64)
    whole(expected).backward()
    found = problem.on(setting.device, torch.float32)
    in_chunks(found, dtype=dtype)().backward()
    pairs = (
        (found.student_PD.grad, expected.student_PD.grad),
        (found.student_KD.grad, expected.student_KD.grad),
    )
    return check_row(
        f"gradients of {_WORDS:,} words in {dtype}, against float64 on the CPU",
        max(_relative(mine, theirs) for mine, theirs in pairs),
        tolerance,
    )


def _relative(found: torch.Tensor | None, expected: torch.Tensor | None) -> float:
    assert found is not None
    assert expected is not None
    return float((found.cpu().double() - expected).norm() / expected.norm())


def compiled(setting: Setting) -> list[Row]:
    """Compare models that train.compile compiles with the same without."""
    found = trained(setting, setting.device, changes={"train": {"compile": True}})
    return [check_row("train.compile", found.apart(_plain(setting)), FOUR_STEPS)]


def recomputed(setting: Setting) -> list[Row]:
    """Compare recomputed activations with kept ones: the masks of dropout are drawn again."""
    changes = with_dropout(setting)
    again = changes | {"train": {"activation_checkpointing": True}}
    return [
        check_row(
            "train.activation_checkpointing with dropout",
            trained(setting, setting.device, changes=again).apart(
                trained(setting, setting.device, changes=changes)
            ),
            FOUR_STEPS,
        )
    ]


def overlapped(setting: Setting) -> list[Row]:
    """Compare a teacher that runs beside the student, in a stream of its own, with turns."""
    changes = {"cluster": {"overlap_teacher": True}}
    return [
        check_row(
            "cluster.overlap_teacher",
            trained(setting, setting.device, changes=changes).apart(_plain(setting)),
            FOUR_STEPS,
        )
    ]


def sharded(setting: Setting) -> list[Row]:
    """Compare a student that FSDP2 shards over a group of one with a whole one."""

    def prepare(run: Distillation) -> None:
        # A worker that is alone on a CPU adds gradients by rows, which no shard does.
        for module in run.objective.modules():
            if isinstance(module, RowEmbedding):
                module.__class__ = torch.nn.Embedding  # type: ignore[assignment]
        shard(run.objective, run.world)

    with _group_of_one(setting.device):
        found = trained(setting, setting.device, prepare=prepare)
    return [check_row("FSDP2, one rank", found.apart(_plain(setting)), FOUR_STEPS)]


def collectives(setting: Setting) -> list[Row]:
    """Compare data parallelism over a group of one with none, and ask the group for sums."""
    device = setting.device
    config = configured(setting, device, name="checked", task="masked_lm", changes={})
    run = assemble(read_setup(config), world=World(device=device))
    steps = run.steps()
    batches = next(steps)
    steps.restart()

    def gradients(parallel: DistillationStep | DistributedDataParallel) -> torch.Tensor:
        run.objective.zero_grad(set_to_none=True)
        counts = step_counts(*map(float, batches.counted))
        backward(parallel, batches, counts, step=0, options=run.loop_options, world=run.world)
        trained = (each.grad for each in run.objective.parameters() if each.grad is not None)
        return torch.cat([gradient.flatten().cpu() for gradient in trained])

    with _group_of_one(device) as backend:
        expected = gradients(run.objective)
        found = gradients(
            DistributedDataParallel(
                run.objective, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        )
        # Of two, so that it asks the group, whose one rank this is: sums are what goes in.
        world = World(size=2, device=device)
        asked = [
            *world.all_reduce_sum(torch.tensor([1.5, 2.5], dtype=torch.float64)).tolist(),
            *world.all_reduce_max([3, -4]),
            world.broadcast(5),
        ]
    return [
        check_row(
            f"gradients by DDP over {backend}, one rank",
            float((found - expected).norm() / expected.norm()),
            ONE_GRADIENT,
        ),
        check_row(
            f"sums, maxima and objects over {backend}",
            max(abs(a - b) for a, b in zip(asked, (1.5, 2.5, 3, -4, 5), strict=True)),
            0.0,
        ),
    ]


@functools.cache
def _on_cpu(setting: Setting, task: str) -> Trained:
    return trained(setting, CPU, task=task)


@functools.cache
def _plain(setting: Setting) -> Trained:
    return trained(setting, setting.device)


@contextmanager
def _group_of_one(device: torch.device) -> Iterator[str]:
    """Be the one rank of a process group, as Ray Train's workers are of theirs."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = HashStore()
    torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        yield backend
    finally:
        torch.distributed.destroy_process_group()


PARTS: dict[str, Part] = {
    **stored.PARTS,
    "float32": float32,
    "bfloat16": bfloat16,
    "vocabulary": vocabulary,
    "compiled": compiled,
    "recomputed": recomputed,
    "overlapped": overlapped,
    "sharded": sharded,
    "collectives": collectives,
}
