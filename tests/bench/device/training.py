"""A few steps of a small run on a device, and how far two of them are apart."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from raykd.cached_teachers.build import ensure_caches, opened_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble, build_state
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World

from tests.bench.device.setting import Setting
from tests.bench.rivals.cases import Case, Material, ModelSize
from tests.bench.rivals.material import make_material, run_config

CPU = torch.device("cpu")
FOUR_STEPS = 1e-4
ONE_GRADIENT = 1e-5
BFLOAT16 = 1e-2
"""How far results may be apart, relative: losses and gradient norms of four steps in float32, one
gradient in float32, and either in bfloat16. Float32 rounds at 6e-8, and kernels of attention and
their atomic sums have no fixed order; bfloat16 rounds at 4e-3. Other masks of dropout are 8e-3."""

TASKS = ("masked_lm", "causal_lm")

Changes = dict[str, Any]
"""Sections of the run that are extended, as in YAML."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What some steps found."""

    losses: tuple[float, ...]
    grad_norms: tuple[float, ...]

    def apart(self, other: "Trained") -> float:
        """Return the largest difference of a loss or a norm, relative to the other's."""
        pairs = zip(
            (*self.losses, *self.grad_norms), (*other.losses, *other.grad_norms), strict=True
        )
        # A tensor's maximum, for NaN stays NaN.
        return float(torch.tensor([abs(a - b) / abs(b) for a, b in pairs]).max())


def prepared(setting: Setting, task: str = "masked_lm") -> tuple[Case, Material]:
    """Return a small case, and what it reads, made by the first who asks."""
    size = ModelSize(
        num_layers=2 if setting.is_small else 4,
        hidden_size=64 if setting.is_small else 256,
        num_heads=4,
    )
    case = Case(
        name=task,
        task=task,
        title=task,
        student=size,
        teacher=size,
        vocab_size=2_000 if setting.is_small else 30_522,
        max_length=64,
        batch_rows=16,
        # Two of them, so that gradients add up.
        micro_batch_rows=8,
        num_steps=4,
        num_warm_up_steps=1,
        temperature=2.0,
    )
    material = Material(root=setting.directory / task)
    if not material.rows.exists():
        make_material(case, material)
    return case, material


def configured(
    setting: Setting, device: torch.device, *, name: str, task: str, changes: Changes
) -> RunConfig:
    """Return the run of the small case on a device."""
    case, material = prepared(setting, task)
    return run_config(
        case,
        material,
        name=name,
        micro_batch_rows=case.micro_batch_rows,
        changes=changes
        | {
            "cluster": {
                "gpus_per_worker": int(device.type == "cuda"),
                **changes.get("cluster", {}),
            }
        },
    )


def trained(
    setting: Setting,
    device: torch.device,
    *,
    task: str = "masked_lm",
    changes: Changes | None = None,
    prepare: Callable[[Distillation], None] = lambda _: None,
) -> Trained:
    """Take all steps of the small case; what is not in the changes is in float32.

    Args:
        setting: Where the data and the models lie.
        device: To train on.
        task: Of the case.
        changes: Of the run.
        prepare: Told of the run when it is assembled; the optimizer is built after it.
    """
    config = configured(setting, device, name="checked", task=task, changes=changes or {})
    ensure_caches(config, watch=CacheWatch())
    setup, world = read_setup(config), World(device=device)
    with opened_caches(setup, world) as caches:
        run = assemble(setup, world=world, caches=caches)
        prepare(run)
        steps = run.steps()
        finished = list(
            training_steps(
                build_state(setup, run.objective),
                run.objective,
                steps,
                options=run.loop_options,
                world=world,
            )
        )
        # Ends the thread that reads ahead.
        steps.restart()
    return Trained(
        losses=tuple(step.loss for step in finished),
        grad_norms=tuple(step.grad_norm for step in finished),
    )


def with_dropout(setting: Setting) -> Changes:
    """Return a student of random weights that draws masks: the data's model has none."""
    case, _ = prepared(setting)
    architecture = {
        "model_type": "bert",
        "num_layers": case.student.num_layers,
        "hidden_size": case.student.hidden_size,
        "num_heads": case.student.num_heads,
        "intermediate_size": 4 * case.student.hidden_size,
        "dropout": 0.1,
    }
    return {"student": {"pretrained": None, "architecture": architecture}}
