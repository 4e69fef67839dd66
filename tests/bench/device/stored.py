"""What goes between a GPU and the memory beside it: batches, caches, checkpoints."""

import contextlib
import warnings
from dataclasses import fields
from pathlib import Path

import torch
from raykd.config.schema.run import RunConfig
from raykd.distill.assemble import assemble
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.runs.stop import StopReason
from raykd.train.worker import Context, train_worker

from tests.bench.device.setting import RESULT, Part, Row, Setting, check_row
from tests.bench.device.training import (
    CPU,
    FOUR_STEPS,
    TASKS,
    configured,
    prepared,
    trained,
    with_dropout,
)

KEPT_IN_FLOAT16 = 1e-4
"""Hidden states rounded at 5e-4 move losses less than this."""

_KILLED_AFTER, _CHECKPOINT_EVERY = 3, 2
_BUSY_CYCLES = 200_000_000
"""A tenth of a second of a GPU."""


class _KilledError(Exception):
    """Ends a run between two steps."""


def copies(setting: Setting) -> list[Row]:
    """Compare a batch that was sent to a busy device with what it was; nothing waits for it."""
    is_gpu = setting.device.type == "cuda"
    config = configured(setting, CPU, name="copied", task="masked_lm", changes={})
    run = assemble(read_setup(config), world=World())
    steps = run.steps()
    sent = next(steps).micro_batches[0]
    steps.restart()
    tensors = {each.name: getattr(sent, each.name) for each in fields(sent)}
    expected = {
        name: value.clone() for name, value in tensors.items() if isinstance(value, torch.Tensor)
    }
    # Pinned memory is there from here on: to be given some may itself be a wait.
    sent.to(setting.device)
    if is_gpu:
        torch.cuda.synchronize()
        torch.cuda._sleep(_BUSY_CYCLES)
    found = sent.to(setting.device)
    was_awaited = is_gpu and torch.cuda.current_stream().query()
    if is_gpu:
        for name in expected:
            # The device reads pinned copies: what they were made of may change at once.
            tensors[name].zero_()
    wrong = [
        name
        for name, value in expected.items()
        if not torch.equal(getattr(found, name).cpu(), value)
    ]
    return [
        check_row("tensors of a batch that changed on the way", float(len(wrong)), 0.0),
        check_row("waits of a batch for a busy device", float(was_awaited), 0.0),
    ]


def waits(setting: Setting) -> list[Row]:
    """Count the places of a step that wait for the device, as torch sees them."""
    if setting.device.type != "cuda":
        return [{"check": "waits for the device in a step", RESULT: "needs a GPU"}]
    rows = []
    for task in TASKS:
        config = configured(setting, setting.device, name="awaited", task=task, changes={})
        run = assemble(read_setup(config), world=World(device=setting.device))
        steps = run.steps()
        taken = training_steps(
            run.state, run.objective, steps, options=run.loop_options, world=run.world
        )
        next(taken)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                next(taken)
        finally:
            torch.cuda.set_sync_debug_mode("default")
            steps.restart()
        # transformers asks every mask whether all of it is tokens: not ours to change.
        own = [each for each in told if "/transformers/" not in each.filename]
        row = check_row(f"{task}: waits for the device in a step", float(len(own)), 1.0)
        places = {f"{Path(each.filename).name}:{each.lineno}" for each in told}
        rows.append(row | {"where": " ".join(sorted(places))})
    return rows


def cached(setting: Setting) -> list[Row]:
    """Compare teachers that were kept with the same teachers live."""
    live = trained(setting, setting.device)
    return [
        check_row(
            f"a teacher cached as {mode} {precision}, against it live",
            trained(
                setting,
                setting.device,
                changes={
                    "teachers": {"teacher": {"cache": {"mode": mode, "precision": precision}}}
                },
            ).apart(live),
            tolerance,
        )
        for mode, precision, tolerance in (
            ("hidden", "exact", FOUR_STEPS),
            ("hidden", "float16", KEPT_IN_FLOAT16),
        )
    ]


def resumed(setting: Setting) -> list[Row]:
    """Compare a run that was killed between two checkpoints and started again with a whole one.

    It has dropout, so the generators of the device are in it.
    """
    case, _ = prepared(setting)
    changes = with_dropout(setting) | {"checkpoint": {"every_steps": _CHECKPOINT_EVERY}}

    def config(name: str) -> RunConfig:
        return configured(setting, setting.device, name=name, task=case.task, changes=changes)

    whole, killed = config("whole"), config("killed")
    _taken(whole, setting.device)
    with contextlib.suppress(_KilledError):
        _taken(killed, setting.device, kills_after=_KILLED_AFTER)
    num_again = _taken(killed, setting.device)
    pairs = zip(_losses(killed), _losses(whole), strict=True)
    return [
        check_row(
            "losses after a kill and a restart",
            max(abs(found - expected) / abs(expected) for found, expected in pairs),
            FOUR_STEPS,
        ),
        check_row(
            "steps after the restart, beside those after the checkpoint",
            float(num_again - (case.num_steps - _CHECKPOINT_EVERY)),
            0.0,
        ),
    ]


def _taken(config: RunConfig, device: torch.device, *, kills_after: int | None = None) -> int:
    """Train a run from where it stands; return how many steps were taken.

    Raises:
        _KilledError: After so many steps.
    """
    num_taken = 0

    def stop_reason() -> StopReason:
        nonlocal num_taken
        num_taken += 1
        if num_taken == kills_after:
            raise _KilledError
        return StopReason.NONE

    context = Context(world=World(device=device), report=lambda _: None, stop_reason=stop_reason)
    train_worker(config, run_paths(config), context)
    return num_taken


def _losses(config: RunConfig) -> list[float]:
    records = read_metrics(run_paths(config).metrics)
    return [record["train/loss"] for record in records if "train/loss" in record]


PARTS: dict[str, Part] = {
    "copies": copies,
    "waits": waits,
    "cached": cached,
    "resumed": resumed,
}
