"""Which library multiplies the float32 matrices of a run: chosen at its start, and kept.

The libraries differ in the last digit. So the choice is written into the run: a run that goes on
on the same kind of machine computes the same bits, however busy the machine is then.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from raykd.distill.distillation import Distillation
from raykd.machine.cores import cpu_name
from raykd.machine.matmul import Shape, multiplying, shapes_of, tried
from raykd.runs.paths import RunPaths
from raykd.storage import uris
from raykd.teachers.live import LiveTeacher

_MACHINE, _ONEDNN = "machine", "onednn"

logger = logging.getLogger(__name__)


@contextmanager
def products_settled(run: Distillation, paths: RunPaths) -> Iterator[None]:
    """Multiply as is best for a run while the block runs; all of its workers call it together."""
    with multiplying(onednn=_settled(run, paths)):
        yield


@contextmanager
def products_as_settled(paths: RunPaths) -> Iterator[None]:
    """Multiply as a run does, where it runs on this kind of machine; choose and write nothing."""
    known = _read(paths)
    with multiplying(onednn=known.get(_MACHINE) == _machine() and bool(known.get(_ONEDNN))):
        yield


def products_of_another(paths: RunPaths, *, other: RunPaths) -> None:
    """Have a run that is new here multiply as another one of this process does."""
    if _read(paths).get(_MACHINE) != _machine() and uris.exists(other.machine):
        uris.write_bytes(paths.machine, uris.read_bytes(other.machine))


def _settled(run: Distillation, paths: RunPaths) -> bool:
    """Return whether oneDNN multiplies: as the run has it, or where it is new here, by trying."""
    shapes = _shapes(run)
    if not shapes:
        return False
    world, machine = run.world, _machine()
    known = world.broadcast(_read(paths) if world.rank == 0 else {})
    if not world.all_reduce_max([int(known.get(_MACHINE) != machine)])[0]:
        return bool(known[_ONEDNN])
    trial = tried(shapes)
    # Workers differ where their machines do; what one of them cannot do, none does.
    onednn = not world.all_reduce_max([int(not trial.is_better)])[0]
    logger.info(
        "machine: %s multiplies float32 matrices; oneDNN is %.2f times as fast as the default "
        "here, with an error of %.1e",
        "oneDNN" if onednn else "the default library",
        trial.speed,
        trial.error,
    )
    if world.rank == 0:
        record = {_MACHINE: machine, _ONEDNN: onednn}
        uris.write_bytes(paths.machine, json.dumps(record, indent=1).encode())
    return onednn


def _shapes(run: Distillation) -> tuple[Shape, ...]:
    """Return what there is to try: nothing on a GPU, nor for small models."""
    if run.world.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return ()
    ensemble = run.objective.ensemble
    teachers = () if ensemble is None else ensemble.teachers.values()
    models: list[torch.nn.Module] = [t.model for t in teachers if isinstance(t, LiveTeacher)]
    if run.config.train.precision == "float32":
        models.append(run.student)
    rows = run.config.train.micro_batch_size * run.manifest.max_length
    return shapes_of(models, rows=rows)


def _machine() -> str:
    return f"{cpu_name()}, torch {torch.__version__}"


def _read(paths: RunPaths) -> dict[str, Any]:
    try:
        return dict(json.loads(uris.read_bytes(paths.machine)))
    except FileNotFoundError:
        return {}
