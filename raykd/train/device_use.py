"""What a run asks of its devices: operations for each token, beside what a device can do."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from raykd.config.inputs import models_by_teacher
from raykd.config.schema.run import RunConfig
from raykd.distill.distillation import Distillation
from raykd.machine.devices import products_per_second
from raykd.models.load import load_config
from raykd.planning.flops import run_flops
from raykd.runs.metrics import DeviceUse
from raykd.teachers.cache.reading import OpenedCache


def device_use(run: Distillation, caches: Mapping[str, OpenedCache]) -> DeviceUse:
    """Return what turns the speed of a run into the use of this worker's device.

    Teachers that runs of one process share count for each of the runs.

    Args:
        run: Assembled.
        caches: Of its teachers that are read, by their names.
    """
    config = _with_modes(run.config, caches)
    flops = run_flops(
        replace(run.setup, config=config),
        student=run.student.model.config,
        teachers={
            name: load_config(named.source, revision=named.revision)
            for name, named in models_by_teacher(config).items()
        },
    )
    return DeviceUse(
        device=run.world.device,
        # Metrics count the tokens of all workers, of which this one trains on its part.
        flops_per_token=flops.total_per_token / run.world.size,
        device_flops=products_per_second(
            run.world.device, getattr(torch, config.train.precision), torch.get_num_threads()
        ),
    )


def _with_modes(config: RunConfig, caches: Mapping[str, OpenedCache]) -> RunConfig:
    """Return a run that names how its caches keep outputs, where it lets raykd choose."""
    teachers = dict(config.teachers)
    for name, cache in caches.items():
        section = teachers[name]
        assert section.cache is not None  # noqa: S101  it has been opened
        mode = cache.encoding.description["mode"]
        teachers[name] = replace(section, cache=replace(section.cache, mode=mode))
    return replace(config, teachers=teachers)
