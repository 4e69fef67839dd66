"""Checkpoints: written whole or not at all, found and verified by raykd itself.

    checkpoints/step-00000100/
      student/      config.json, model.safetensors and the tokenizer: a transformers directory
      optimizer/    adamw-00001-of-00002.safetensors, one tensor per parameter and moment, a file
                    for each worker that wrote it; and where losses on layers learn maps from the
                    student's width to the teacher's, those: layer_maps.safetensors
      state.json    step, tokens, data state, what the run was at the time
      manifest.json COMMITTED

Nothing here is ever unpickled. Tensors are full, not sharded, and named like the model's, so any
number of workers restores them. The teacher is not in a checkpoint: the manifest says which it
was.
"""

import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from raykd import __version__, strict_json
from raykd.data.selection import DataState
from raykd.distill.loop import TrainState
from raykd.errors import CheckpointError, PublicationError
from raykd.models.files import difference
from raykd.models.fingerprint import RUN
from raykd.models.load import load_weights
from raykd.models.shards import distribute_like
from raykd.runs.paths import RunPaths
from raykd.storage import uris
from raykd.storage.published import layout
from raykd.storage.published.directory import COMMITTED, fetched, read_published

KIND = layout.CHECKPOINT_KIND
LAYER_MAPS_FILE = f"{layout.OPTIMIZER}/layer_maps.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")

_OPTIMIZER_PREFIX = "adamw-"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class BestEvaluation:
    """The evaluation with the lowest loss so far."""

    step: int
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RunState:
    """What state.json says, beside the tensors."""

    step: int
    tokens: int
    data: DataState
    data_fingerprint: str
    """Manifest hash of the prepared data; a checkpoint does not continue on other data."""

    world_size: int
    best: BestEvaluation | None
    first_evaluation: dict[str, float] | None
    """The metrics before the first step, where the run was evaluated there."""

    recent_loss: float | None = None
    """Exponential mean of the losses of the last steps that scored a position."""

    num_losses: int = 0
    """How many losses the mean is of."""

    raykd_version: str = __version__
    torch_version: str = torch.__version__


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundCheckpoint:
    """A checkpoint that is complete."""

    uri: str
    step: int
    path: Path
    """Where its files are on this machine."""


def checkpoint_name(step: int) -> str:
    """Return the directory name of a step's checkpoint."""
    return f"{layout.CHECKPOINT_PREFIX}{step:08d}"


def optimizer_file(part: int, count: int) -> str:
    """Return where a worker, counted from 0, puts its part of the optimizer's state."""
    return f"{layout.OPTIMIZER}/{_OPTIMIZER_PREFIX}{part + 1:05d}-of-{count:05d}.safetensors"


def restore_checkpoint(uri: str, state: TrainState) -> RunState:
    """Put a run into the state that a checkpoint holds, bit by bit.

    Raises:
        CheckpointError: The checkpoint is of another model, or cannot be continued from.
    """
    with uris.local_copy(uri) as path:
        saved = read_run_state(path)
        load_weights(state.student.model, path / layout.STUDENT)
        if state.projections.state_dict():
            _load_projections(state, path / LAYER_MAPS_FILE)
        moments = _saved_moments(path)
        # Before the first step AdamW has none; later, none means that files are missing.
        if saved.step > 0 and not moments:
            message = f"{uri}: holds no state of the optimizer, in {optimizer_file(0, 1)} or more"
            raise CheckpointError(message)
        _load_moments(state, moments, uri)
    state.step, state.tokens, state.data = saved.step, saved.tokens, saved.data
    state.recent_loss, state.num_losses = saved.recent_loss, saved.num_losses
    return saved


def read_run_state(path: Path) -> RunState:
    """Return what a checkpoint's state.json says."""
    saved = json.loads((path / layout.STATE).read_bytes())
    best, first = saved.pop("best"), saved.pop("first_evaluation")
    return RunState(
        **{
            **saved,
            "data": DataState(**saved["data"]),
            "best": None if best is None else BestEvaluation(**best),
            "first_evaluation": None if first is None else strict_json.numbers(first),
        }
    )


def checkpoint_steps(checkpoints_uri: str) -> list[int]:
    """Return the steps of the checkpoint directories, rising; some may be half or broken."""
    names = uris.list_names(checkpoints_uri)
    prefix = layout.CHECKPOINT_PREFIX
    steps = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    return sorted(int(step) for step in steps if step.isdigit())


def committed_steps(checkpoints_uri: str) -> list[int]:
    """Return the steps of the checkpoints that are committed, rising; some may be broken."""
    commits = {
        uris.join(checkpoints_uri, checkpoint_name(step), COMMITTED): step
        for step in checkpoint_steps(checkpoints_uri)
    }
    present = uris.read_many(list(commits))
    return [step for commit, step in commits.items() if commit in present]


@contextmanager
def newest_checkpoint(
    checkpoints_uri: str, *, run: str | None = None, before: float = math.inf
) -> Iterator[FoundCheckpoint | None]:
    """Yield the newest checkpoint whose every byte is what its manifest says, if there is one.

    Those that are skipped are named in a warning, with the reason.

    Args:
        checkpoints_uri: Where the checkpoints of a run lie.
        run: The run that the checkpoint must be of; any where None.
        before: The step that it must be of fewer steps than.

    Raises:
        StorageError: Storage cannot be reached: it says nothing about the checkpoints.
    """
    # Storage is what counts, not what Ray has registered: a worker that is killed right after
    # ray.train.report loses a checkpoint that is there (Ray 2.60).
    steps = [step for step in checkpoint_steps(checkpoints_uri) if step < before]
    for step in reversed(steps):
        uri = uris.join(checkpoints_uri, checkpoint_name(step))
        with ExitStack() as stack:
            try:
                path = stack.enter_context(opened_checkpoint(uri, run=run))
            except PublicationError as error:
                logger.warning("skipping checkpoint of step %d: %s", step, error)
                continue
            yield FoundCheckpoint(uri=uri, step=step, path=path)
            return
    yield None


def model_checkpoint(paths: RunPaths, *, keep: Literal["last", "best"]) -> str | None:
    """Return the checkpoint whose weights are a run's model, as far as it has trained.

    Those of a run that is done are what it has exported. None where there is no valid one yet.

    Args:
        paths: Of the run.
        keep: The run's ``train.keep``.
    """
    with newest_checkpoint(paths.checkpoints) as newest:
        if newest is None:
            return None
        best = read_run_state(newest.path).best if keep == "best" else None
        step = newest.step if best is None else best.step
    return uris.join(paths.checkpoints, checkpoint_name(step))


@contextmanager
def opened_checkpoint(uri: str, *, run: str | None = None) -> Iterator[Path]:
    """Yield where the files of a checkpoint are on this machine, every byte verified.

    Args:
        uri: The checkpoint.
        run: The run that it must be of; any where None.

    Raises:
        PublicationError: It is not whole, or of another run.
    """
    published = read_published(uri, kind=KIND)
    if run is not None and (origin := published.content.get(RUN, run)) != run:
        message = f"{uri}: is of another run: {origin}"
        raise PublicationError(message)
    with fetched(published) as path:
        yield path


def kept_steps(
    steps: Sequence[int], *, keep_last: int, best_step: int | None, milestones: Sequence[int]
) -> set[int]:
    """Return which checkpoints stay: the newest, the best, the milestones."""
    return {*sorted(steps)[-keep_last:]} | (set(steps) & {best_step, *milestones})


def _saved_moments(path: Path) -> dict[str, torch.Tensor]:
    files = sorted((path / layout.OPTIMIZER).glob(f"{_OPTIMIZER_PREFIX}*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def trained_parameters(state: TrainState) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield what the optimizer changes: the student, and what losses on layers learn."""
    for name, parameter in state.student.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    yield from state.projections.named_parameters(prefix="projections")


def _load_projections(state: TrainState, path: Path) -> None:
    mine = state.projections.state_dict()
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        message = f"{path}: cannot be read: {error}"
        raise CheckpointError(message) from error
    if unlike := difference(saved, mine):
        message = f"{path}: are not the maps of this run's losses on layers: {unlike}"
        raise CheckpointError(message)
    # In place: the optimizer holds these very parameters.
    for name, tensor in mine.items():
        tensor.copy_(distribute_like(saved[name], like=tensor))


def _load_moments(state: TrainState, tensors: dict[str, torch.Tensor], uri: str) -> None:
    for name, parameter in trained_parameters(state):
        moments = {m: tensors.pop(f"{name}/{m}") for m in MOMENTS if f"{name}/{m}" in tensors}
        if moments and moments["exp_avg"].shape != parameter.shape:
            message = (
                f"{uri}: the moments of {name} have shape {tuple(moments['exp_avg'].shape)}, "
                f"but the parameter has {tuple(parameter.shape)}"
            )
            raise CheckpointError(message)
        if moments:
            # Set as they are: Optimizer.load_state_dict would cast the moments to the type of the
            # parameter. The count of steps is a scalar, and never sharded.
            state.optimizer.state[parameter] = {
                moment: distribute_like(tensor, like=parameter)
                if tensor.shape == parameter.shape
                else tensor.to(parameter.device)
                for moment, tensor in moments.items()
            }
    if tensors:
        message = f"{uri}: holds moments of unknown parameters such as {min(tensors)}"
        raise CheckpointError(message)
