"""What runs, and how far it is: without Ray, whose environment is set before its import."""

import psutil
from raykd.config.schema.run import RunConfig
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import run_paths


def processes_called(title: str, *, root: int | None = None) -> list[psutil.Process]:
    """Return the processes that are called so below this one, or below another root."""
    return [
        process
        for process in psutil.Process(root).children(recursive=True)
        if title in " ".join(_title(process))
    ]


def has_checkpoint(config: RunConfig) -> bool:
    """Tell whether a run has somewhere to go on from."""
    return bool(committed_steps(run_paths(config).checkpoints))


def _title(process: psutil.Process) -> list[str]:
    try:
        title: list[str] = process.cmdline()[:1]
    except psutil.Error:
        # It has just ended, or is about to.
        return []
    return title
