"""The state of a run at one step, in memory of its own, and how it becomes a checkpoint.

Training goes on as soon as it is taken. Every worker of a run takes and writes a part of the
state, as even as can be without splitting a tensor, whether the state is replicated or sharded.
"""

import dataclasses
import heapq
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from raykd import strict_json
from raykd.distill.loop import TrainState
from raykd.distill.world import World
from raykd.models.fingerprint import STEP
from raykd.models.load import ModelFiles, model_files, save_files
from raykd.models.shards import full_tensor
from raykd.runs.checkpoint import (
    KIND,
    LAYER_MAPS_FILE,
    MOMENTS,
    RunState,
    optimizer_file,
    trained_parameters,
)
from raykd.storage.published import layout
from raykd.storage.published.places import Part
from raykd.storage.published.publishing import Publication, publish_part

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One worker's part of a checkpoint."""

    model: ModelFiles | None
    """The student; of the first worker."""

    moments: Tensors
    layer_maps: Tensors
    """What losses on layers learn; of the first worker."""

    run_state: RunState

    @property
    def num_bytes(self) -> int:
        """Size in memory, and about that of its files."""
        files = self.model.tensors.values() if self.model is not None else ()
        return sum(_num_bytes(tensors) for tensors in (*files, self.moments, self.layer_maps))


class Copies:
    """Memory that the tensors of a run are copied into, of one snapshot after the other.

    Blocks as large as these, taken anew each time, find ever fewer holes in a heap from which
    uploads take smaller ones beside them: a process would grow with every checkpoint.
    """

    def __init__(self) -> None:
        self._held: Tensors = {}

    def of(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Copy a tensor to where the last one of this name was copied."""
        if name not in self._held:
            self._held[name] = torch.empty(tensor.shape, dtype=tensor.dtype)
        # A copy: the next step changes the parameters in place while this is being written.
        return self._held[name].copy_(tensor.detach())


def take_snapshot(
    state: TrainState, *, run_state: RunState, world: World, copies: Copies
) -> Snapshot:
    """Copy this worker's part of the state of a run.

    All workers call it after the same step: tensors that are sharded over them are gathered, one
    at a time, so a checkpoint does not depend on how the run was parallel.

    Args:
        state: What is trained.
        run_state: What else there is to know of the run.
        world: This worker among all.
        copies: The memory of the run's snapshots; the one that they held before is written.
    """
    model = model_files(state.student.model)
    maps = state.projections.state_dict()
    moments = _moments(state)
    others = sum(_num_bytes(tensors) for tensors in (*model.tensors.values(), maps))
    sizes = {name: _num_bytes(tensors) for name, tensors in moments.items()}
    # The same on every worker: it follows from sizes alone, and nothing is sent.
    mine = shares(sizes, count=world.size, taken=others)[world.rank]
    is_first = world.rank == 0
    copied_model = copied_files(model, copies, keeps=is_first)
    copied = {
        name: _copied(tensors, copies, of=name, keeps=name in mine)
        for name, tensors in moments.items()
    }
    return Snapshot(
        model=copied_model if is_first else None,
        moments={f"{name}/{m}": t for name in mine for m, t in copied[name].items()},
        layer_maps=_copied(maps, copies, of="layer maps", keeps=is_first),
        run_state=run_state,
    )


def copied_files(model: ModelFiles, copies: Copies, *, keeps: bool) -> ModelFiles:
    """Return what to write of a model in other memory, without any tensor if not kept.

    All workers call it together, whoever keeps what it returns.
    """
    tensors = {
        file: _copied(named, copies, of=file, keeps=keeps) for file, named in model.tensors.items()
    }
    return dataclasses.replace(model, tensors=tensors)


def publish_snapshot(
    uri: str,
    snapshot: Snapshot,
    *,
    part: Part,
    origin: dict[str, object],
    companions: Path,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Write this worker's part of a checkpoint; the first worker commits it.

    Args:
        uri: Where the checkpoint is to appear.
        snapshot: What to write.
        part: Which worker this is.
        origin: What the manifest says beside the step: the run, its teachers by reference.
        companions: Local directory of what stands beside the student's weights.
        should_stop: Ends the first worker's wait for the parts of the others.
    """

    def write(publication: Publication) -> None:
        _write(snapshot, publication.path, part)
        if snapshot.model is not None:
            shutil.copytree(companions, publication.path / layout.STUDENT, dirs_exist_ok=True)
            publication.content |= {STEP: snapshot.run_state.step, **origin}

    publish_part(
        uri,
        kind=KIND,
        part=part,
        write=write,
        num_bytes=snapshot.num_bytes,
        should_stop=should_stop,
    )


def shares(sizes: Mapping[str, int], *, count: int, taken: int) -> list[list[str]]:
    """Deal named sizes to so many workers, the largest first, each to whom has least.

    Args:
        sizes: What to deal.
        count: Number of workers.
        taken: What the first worker has beside that.
    """
    dealt: list[list[str]] = [[] for _ in range(count)]
    loads = [(taken if worker == 0 else 0, worker) for worker in range(count)]
    heapq.heapify(loads)
    # By name where sizes are equal: workers must not differ.
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        load, worker = loads[0]
        dealt[worker].append(name)
        heapq.heapreplace(loads, (load + sizes[name], worker))
    return dealt


def _write(snapshot: Snapshot, path: Path, part: Part) -> None:
    (path / "optimizer").mkdir()
    if snapshot.moments:
        save_file(snapshot.moments, path / optimizer_file(part.index, part.count))
    if snapshot.layer_maps:
        save_file(snapshot.layer_maps, path / LAYER_MAPS_FILE)
    if snapshot.model is not None:
        save_files(snapshot.model, path / layout.STUDENT)
        (path / layout.STATE).write_bytes(strict_json.file_content(snapshot.run_state))


def _moments(state: TrainState) -> dict[str, Tensors]:
    return {
        name: {moment: state.optimizer.state[parameter][moment] for moment in MOMENTS}
        for name, parameter in trained_parameters(state)
        if parameter in state.optimizer.state
    }


def _copied(
    tensors: Mapping[str, torch.Tensor], copies: Copies, *, of: str, keeps: bool
) -> Tensors:
    """Return copies in the memory of this process; of none where it only takes part."""
    copied = {}
    for name, tensor in tensors.items():
        # A collective: all workers gather it, in the same order, whoever keeps it.
        full = full_tensor(tensor)
        if keeps:
            copied[name] = copies.of(f"{of}/{name}", full)
    return copied


def _num_bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
