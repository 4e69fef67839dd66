"""Checkpoints: written whole or not at all, found and verified by raykd itself.

    checkpoints/step-00000100/
      student/      config.json, model.safetensors and the tokenizer: a transformers directory
      optimizer/    adamw.safetensors, one tensor per parameter and moment; and where losses on
                    layers learn maps from the student's width to the teacher's, those:
                    layer_maps.safetensors
      state.json    step, tokens, data state, what the run was at the time
      manifest.json COMMITTED

Nothing here is ever unpickled. The teacher is not in a checkpoint, only in the configuration.
"""

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from raykd import __version__, storage
from raykd.data.stream import DataState
from raykd.distill.loop import TrainState
from raykd.errors import CheckpointError, PublicationError
from raykd.models.load import load_weights, save_model

KIND = "checkpoint"
STATE_FILE = "state.json"
STUDENT_DIRECTORY = "student"
_OPTIMIZER_FILE = "optimizer/adamw.safetensors"
_LAYER_MAPS_FILE = "optimizer/layer_maps.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
_PREFIX = "step-"

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

    raykd_version: str = __version__
    torch_version: str = torch.__version__


def checkpoint_name(step: int) -> str:
    """Return the directory name of a step's checkpoint."""
    return f"{_PREFIX}{step:08d}"


def write_checkpoint(
    uri: str, state: TrainState, *, run_state: RunState, tokenizer_path: Path
) -> None:
    """Publish the state of a run at a URI."""
    with storage.publishing(uri, kind=KIND) as publication:
        student_path = publication.path / STUDENT_DIRECTORY
        shutil.copytree(tokenizer_path, student_path)
        save_model(state.student.model, student_path)
        (publication.path / "optimizer").mkdir()
        save_file(_moments(state), publication.path / _OPTIMIZER_FILE)
        if projections := state.projections.state_dict():
            save_file(projections, publication.path / _LAYER_MAPS_FILE)
        text = json.dumps(dataclasses.asdict(run_state), indent=1)
        (publication.path / STATE_FILE).write_text(text)
        publication.content["step"] = run_state.step


def restore_checkpoint(uri: str, state: TrainState) -> RunState:
    """Put a run into the state that a checkpoint holds, bit by bit.

    Raises:
        CheckpointError: The checkpoint is of another model.
    """
    with storage.local_copy(uri) as path:
        saved = read_run_state(path)
        load_weights(state.student.model, path / STUDENT_DIRECTORY)
        if state.projections.state_dict():
            _load_projections(state, path / _LAYER_MAPS_FILE)
        _load_moments(state, load_file(path / _OPTIMIZER_FILE), uri)
    state.step, state.tokens, state.data = saved.step, saved.tokens, saved.data
    return saved


def read_run_state(path: Path) -> RunState:
    """Return what a checkpoint's state.json says."""
    saved: dict[str, Any] = json.loads((path / STATE_FILE).read_text())
    best = saved.pop("best")
    return RunState(
        **{
            **saved,
            "data": DataState(**saved["data"]),
            "best": None if best is None else BestEvaluation(**best),
        }
    )


def committed_steps(checkpoints_uri: str) -> list[int]:
    """Return the steps of the checkpoint directories, rising; some may be broken."""
    names = storage.list_names(checkpoints_uri)
    steps = (name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))
    return sorted(int(step) for step in steps if step.isdigit())


def newest_valid_checkpoint(checkpoints_uri: str) -> str | None:
    """Return the newest checkpoint whose every byte is what its manifest says.

    Broken ones are skipped with a warning that names the file.
    """
    for step in reversed(committed_steps(checkpoints_uri)):
        uri = storage.join(checkpoints_uri, checkpoint_name(step))
        try:
            storage.verify(storage.read_published(uri, kind=KIND))
        except PublicationError as error:
            logger.warning("skipping checkpoint of step %d: %s", step, error)
            continue
        return uri
    return None


def kept_steps(
    steps: Sequence[int], *, keep_last: int, best_step: int | None, milestones: Sequence[int]
) -> set[int]:
    """Return which checkpoints stay: the newest, the best, the milestones."""
    return {*sorted(steps)[-keep_last:]} | (set(steps) & {best_step, *milestones})


def _trained(state: TrainState) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Yield what the optimizer changes: the student, and what losses on layers learn."""
    yield from state.student.named_parameters()
    yield from state.projections.named_parameters(prefix="projections")


def _load_projections(state: TrainState, path: Path) -> None:
    try:
        state.projections.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        message = f"{path}: are not the maps of this run's losses on layers: {error}"
        raise CheckpointError(message) from error


def _moments(state: TrainState) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in _trained(state):
        for moment in _MOMENTS:
            if parameter in state.optimizer.state:
                tensors[f"{name}/{moment}"] = state.optimizer.state[parameter][moment]
    return tensors


def _load_moments(state: TrainState, tensors: dict[str, torch.Tensor], uri: str) -> None:
    for name, parameter in _trained(state):
        moments = {m: tensors.pop(f"{name}/{m}") for m in _MOMENTS if f"{name}/{m}" in tensors}
        if moments and moments["exp_avg"].shape != parameter.shape:
            message = (
                f"{uri}: the moments of {name} have shape {tuple(moments['exp_avg'].shape)}, "
                f"but the parameter has {tuple(parameter.shape)}"
            )
            raise CheckpointError(message)
        if moments:
            state.optimizer.state[parameter] = {
                moment: tensor.to(parameter.device) for moment, tensor in moments.items()
            }
    if tensors:
        message = f"{uri}: holds moments of unknown parameters such as {min(tensors)}"
        raise CheckpointError(message)
