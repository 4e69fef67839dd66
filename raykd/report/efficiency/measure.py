"""Measure how long models take for one example, on this machine: random weights, no download."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import torch
from transformers import CONFIG_MAPPING

from raykd.errors import RaykdError
from raykd.machine.cores import cpu_model, usable_memory
from raykd.models.build import build_model
from raykd.models.checks import UNFIT
from raykd.models.quiet import quiet_transformers
from raykd.report.efficiency.latencies import Latency
from raykd.sweep.model_size import ModelSize

_WARM_UP_PASSES = 3
_LEAST_PASSES = 20
_MOST_PASSES = 200
_SECONDS = 1.0
"""Passes beyond the least are begun for so long."""

_MOST_SECONDS = 5.0
"""After so long it is enough with fewer passes, too."""

_SHARE_OF_MEMORY = 0.25
"""Of what this process may use: a model that takes more is not built."""


def measured(
    models: Iterable[ModelSize], known: Sequence[Latency], *, tokens: int
) -> tuple[Latency, ...]:
    """Return what is known of models' latencies, those of this machine last and complete.

    A model that cannot be built here, or is too large, is left out.

    Args:
        models: To be measured where they were not before.
        known: Of any machine and length.
        tokens: Length of the row.
    """
    where = cpu_model(), torch.get_num_threads()
    here = {each.model: each for each in known if (each.where, each.tokens) == (where, tokens)}
    load = os.getloadavg()[0]
    for model in models:
        if model.id not in here and (passes := _timed_passes(model, tokens)):
            here[model.id] = Latency(
                model=model.id,
                tokens=tokens,
                cpu=where[0],
                threads=where[1],
                milliseconds=1e3 * statistics.median(passes),
                num_passes=len(passes),
                load=load,
            )
    return (*(each for each in known if each not in here.values()), *here.values())


def _timed_passes(size: ModelSize, tokens: int) -> list[float]:
    """Return the seconds of each pass; none where the model cannot be built here."""
    if 4 * size.total > _SHARE_OF_MEMORY * usable_memory():
        return []
    # What the ledger says was written by another version of transformers, perhaps.
    try:
        with quiet_transformers(), torch.inference_mode():
            config = CONFIG_MAPPING[size.model_type].from_dict(dict(size.fields))
            model = build_model(config, size.task).float().eval()
            ids_BL = torch.randint(config.vocab_size, (1, tokens))
            mask_BL = torch.ones_like(ids_BL)
            return _timed(lambda: model(input_ids=ids_BL, attention_mask=mask_BL))
    except (RaykdError, RuntimeError, IndexError, *UNFIT):
        return []


def _timed(one_pass: Callable[[], object]) -> list[float]:
    for _ in range(_WARM_UP_PASSES):
        one_pass()
    seconds: list[float] = []
    while len(seconds) < _MOST_PASSES and sum(seconds) < (
        _SECONDS if len(seconds) >= _LEAST_PASSES else _MOST_SECONDS
    ):
        started = time.perf_counter()
        one_pass()
        seconds.append(time.perf_counter() - started)
    return seconds
