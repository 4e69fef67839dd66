"""Where the time of some steps goes: a trace of torch's profiler, beside the metrics."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from raykd.distill.distillation import Distillation
from raykd.distill.loop import FinishedStep
from raykd.storage import uris


def profiled(
    steps: Iterator[FinishedStep], run: Distillation, *, uri: str
) -> Iterator[FinishedStep]:
    """Return the steps as they are taken; the first worker traces ``train.profile_steps``.

    What is done between two of them, such as an evaluation, is in the trace. A run that ends
    within them writes none; one that goes on within them traces those that remain.

    Args:
        steps: Of the run, from the next one on.
        run: That takes them.
        uri: File of the trace, which appears complete or not at all.
    """
    window = run.config.train.profile_steps
    if window is None or run.world.rank != 0:
        return steps
    return _traced(steps, run.state.step, window, device=run.world.device, uri=uri)


def _traced(
    steps: Iterator[FinishedStep],
    start: int,
    window: tuple[int, ...],
    *,
    device: torch.device,
    uri: str,
) -> Iterator[FinishedStep]:
    first, last = window
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with ExitStack() as stack:
        trace = None
        step = start + 1
        while True:
            if trace is None and first <= step <= last:
                trace = stack.enter_context(profile(activities=activities))
            # The generator takes its step inside next(): what lies outside is the worker's.
            with record_function(f"step {step}"):
                finished = next(steps, None)
            if finished is None:
                return
            if trace is not None and step == last:
                stack.close()
                _write(trace, uri)
            yield finished
            step += 1


def _write(trace: profile, uri: str) -> None:
    # By way of a file: the profiler writes to paths, not to stores.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "profile.json.gz")
        trace.export_chrome_trace(str(path))
        uris.write_bytes(uri, path.read_bytes())
