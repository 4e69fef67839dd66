"""The metrics of a run in W&B; imported only where W&B is installed and configured."""

import tempfile
from pathlib import Path

import wandb

from raykd.config.load import plain
from raykd.config.schema.run import RunConfig
from raykd.errors import StorageError
from raykd.runs.metrics import Record, measured
from raykd.runs.paths import RunPaths
from raykd.storage import uris
from raykd.storage.published import ownership

FAILURES = (wandb.Error, OSError, StorageError)
"""What is raised where W&B cannot do its part."""


class WandbTracker:
    """Fills one run of W&B, in the group named like the run: offline unless W&B is told else.

    An offline run is a directory in RUN/wandb for ``wandb sync``. Where the run's directory is
    remote, it gets there when the worker ends; a killed worker brings nothing, the next one all.
    """

    def __init__(self, config: RunConfig, paths: RunPaths, tracked_id: str) -> None:
        told = wandb.setup().settings
        mode = told.mode if "mode" in told.model_fields_set else "offline"
        self._uri = paths.wandb
        # An offline run cannot be continued: it is written anew from metrics.jsonl.
        if mode == "offline":
            ownership.remove_scratch(self._uri)
        self._scratch = None if uris.is_local(paths.run) else tempfile.TemporaryDirectory()
        self._run = wandb.init(
            project=config.tracking.wandb,
            group=config.name,
            # The same for each start of a run: W&B continues the one that has it.
            id=tracked_id,
            name=tracked_id.rpartition("-")[0],
            dir=paths.run if self._scratch is None else self._scratch.name,
            config=plain(config),
            settings=_settings(mode),
        )

    def log(self, record: Record) -> None:
        """Take one record; W&B has no two of a step, but joins those that follow each other."""
        if (step := int(record["step"])) >= self._run.starting_step:
            self._run.log(measured(record), step=step)

    def close(self, *, is_done: bool) -> None:
        """End the run, and bring its files into the run's directory where that is remote."""
        self._run.finish(exit_code=0 if is_done else 1)
        if self._run.offline:
            # W&B's own process still writes after finish; this waits until it has ended.
            wandb.teardown()
            if self._scratch is not None:
                _upload(Path(self._scratch.name, "wandb"), self._uri)
        if self._scratch is not None:
            self._scratch.cleanup()


def _upload(directory: Path, uri: str) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            name = path.relative_to(directory).as_posix()
            uris.write_bytes(uris.join(uri, name), path.read_bytes())


def _settings(mode: str | None) -> wandb.Settings:
    """Return settings under which W&B says nothing, and takes nothing but the metrics."""
    return wandb.Settings(
        mode=mode,
        resume="allow",
        reinit="create_new",
        silent=True,
        console="off",
        symlink=False,
        disable_git=True,
        disable_code=True,
        disable_job_creation=True,
        allow_val_change=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
