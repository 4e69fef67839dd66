"""A step of a run once more, from the checkpoint before it; nothing is written anywhere."""

import itertools
import shlex
from collections.abc import Callable

import torch

from raykd.batch import IntArray
from raykd.cached_teachers.build import Caches, opened_caches
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.data.tokenizers import load_tokenizer
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import RunSetup, read_setup
from raykd.distill.world import World, local_device
from raykd.errors import ConfigError, DivergedError
from raykd.runs.checkpoint import newest_checkpoint, restore_checkpoint
from raykd.runs.inputs import changed_inputs
from raykd.runs.paths import RunPaths
from raykd.storage import uris
from raykd.train.restored import written_config
from raykd.train.step_report import StepReport, report_next_step, with_cause

_MOST_NAMED = 8
"""Rows of a step that a message names."""


def explained(error: DivergedError, run: Distillation, paths: RunPaths) -> DivergedError:
    """Return the error with its cause, the rows of the step that diverged, and how to replay it.

    Args:
        error: What the loop raised.
        run: Still as it was before the step.
        paths: Of the run.
    """
    error = with_cause(error, run)
    row_ids = run.next_rows().row_ids_B.tolist()
    named = ", ".join(map(str, row_ids[:_MOST_NAMED]))
    if (more := len(row_ids) - _MOST_NAMED) > 0:
        named += f" and {more} more"
    command = f"raykd replay {shlex.quote(paths.run)} --step {run.state.step + 1}"
    return type(error)(
        f"{error} The step trains on {len(row_ids)} rows, with the ids {named}. See what each "
        f"does: {command}"
    )


def replay_step(uri: str, *, step: int, on_message: Callable[[str], None]) -> StepReport:
    """Return what a step of a run does, without taking it.

    The steps from the newest valid checkpoint before it are taken again, in this process.

    Args:
        uri: Directory of the run.
        step: Counted from 1.
        on_message: Told in a line each where the replay starts, and what makes it differ.

    Raises:
        ConfigError: There is no run at the URI, it has no such step or does not get there, or
            one of its inputs has changed.
    """
    paths = RunPaths(uri.rstrip("/"))
    config = written_config(paths)
    if changes := changed_inputs(config):
        message = f"{changes[0]}. A step can be replayed with the same inputs only"
        raise ConfigError(message)
    setup = read_setup(config)
    if not 1 <= step <= setup.num_steps:
        message = f"--step {step}: the run has the steps 1 to {setup.num_steps}"
        raise ConfigError(message)
    tokenizer = load_tokenizer(uris.join(config.data.uri, TOKENIZER_DIRECTORY))

    def decode(token_ids_T: IntArray) -> str:
        return str(tokenizer.decode(token_ids_T.tolist(), skip_special_tokens=True))

    with opened_caches(setup, World()) as caches:
        run = _run_before(step, setup, paths=paths, caches=caches, on_message=on_message)
        for line in _differences(run):
            on_message(line)
        _take_steps(run, step - 1)
        return report_next_step(run, decode=decode)


def _run_before(
    step: int,
    setup: RunSetup,
    *,
    paths: RunPaths,
    caches: Caches,
    on_message: Callable[[str], None],
) -> Distillation:
    """Return the run as it was at the newest checkpoint before a step, or at its start."""
    with newest_checkpoint(paths.checkpoints, before=step) as checkpoint:
        device = local_device(setup.config.cluster) or torch.device("cpu")
        run = assemble(
            setup, world=World(device=device), is_restored=checkpoint is not None, caches=caches
        )
        if checkpoint is None:
            on_message(f"no checkpoint before step {step} is left: from the start of the run")
            return run
        saved = restore_checkpoint(str(checkpoint.path), run.state)
    on_message(f"from the checkpoint of step {saved.step}")
    return run


def _differences(run: Distillation) -> list[str]:
    """Say what makes the numbers of a replay differ from those of the run."""
    cluster, lines = run.config.cluster, []
    if cluster.gpus_per_worker > 0 and run.world.device.type != "cuda":
        lines.append("the run computes on a GPU and this replay on the CPU: last digits differ")
    if cluster.num_workers > 1:
        line = f"the run has {cluster.num_workers} workers and this replay one process: "
        if _has_dropout(run):
            line += "each worker draws its own dropout, so the loss differs a little"
        else:
            line += "last digits differ"
        lines.append(line)
    return lines


def _has_dropout(run: Distillation) -> bool:
    settings = run.student.model.config.to_dict().items()
    return any("drop" in name and isinstance(rate, float) and rate > 0 for name, rate in settings)


def _take_steps(run: Distillation, num_steps: int) -> None:
    """Bring a run to a number of steps, as its worker does but for what that writes.

    Raises:
        ConfigError: A step on the way diverges.
    """
    # Evaluations decide which rows follow: without those of the run, other rows would.
    if run.mixes_adaptively and run.evaluates_first:
        run.adapt(run.evaluate())
    steps = run.steps()
    remaining = training_steps(
        run.state, run.objective, steps, options=run.loop_options, world=run.world
    )
    try:
        for finished in itertools.islice(remaining, num_steps - run.state.step):
            if run.mixes_adaptively and run.evaluates_after(finished.step):
                run.adapt(run.evaluate())
                steps.restart()
    except DivergedError as error:
        message = f"--step {num_steps + 1}: the run does not get there: {error}"
        raise ConfigError(message) from error
    finally:
        # Ends the thread that reads ahead.
        steps.restart()
