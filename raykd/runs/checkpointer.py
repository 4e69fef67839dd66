"""Which checkpoints of a run are written, restored and kept."""

import functools
import math
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raykd.config.inputs import models_by_teacher
from raykd.config.schema.run import RunConfig
from raykd.distill.distillation import Distillation
from raykd.distill.world import World
from raykd.errors import ConfigError
from raykd.models.fingerprint import RUN
from raykd.models.load import load_weights
from raykd.runs.background import Background
from raykd.runs.checkpoint import (
    KIND,
    BestEvaluation,
    RunState,
    checkpoint_name,
    checkpoint_steps,
    committed_steps,
    kept_steps,
    newest_checkpoint,
    opened_checkpoint,
    restore_checkpoint,
)
from raykd.runs.paths import RunPaths
from raykd.runs.snapshot import Copies, publish_snapshot, take_snapshot
from raykd.steps import milestone_steps
from raykd.storage import uris
from raykd.storage.published import layout, ownership
from raykd.storage.published.places import Part

_GRACE_SECONDS = 30.0
"""After a failure, for the other workers to bring their parts of what is being written."""


class Checkpointer:
    """The checkpoints of one run: all workers write a part of each, and restore the same one.

    They are written in the background, one at a time.
    """

    def __init__(
        self, config: RunConfig, paths: RunPaths, run: Distillation, *, companions: Path
    ) -> None:
        self._config = config.checkpoint
        self._uri = paths.checkpoints
        self._run = run
        self._companions = companions
        self._milestones = milestone_steps(config.checkpoint.milestones, run.num_steps)
        self._best: BestEvaluation | None = None
        self._origin = functools.cache(lambda: _origin(config, paths))
        # One token for all workers: parts of an attempt that died are not waited for.
        self._attempt: str = run.world.broadcast(uuid.uuid4().hex[:8])
        self._background = Background("raykd-checkpoint")
        self._copies = Copies()
        self._is_postponed = False
        self._written_step: int | None = None
        self._deadline = math.inf
        self.first_evaluation: dict[str, float] | None = None
        """The metrics before the first step, where the run was evaluated there."""

    def restore(self, uri: str) -> None:
        """Continue from a checkpoint.

        Raises:
            ConfigError: The data has changed since the checkpoint was written.
        """
        saved = restore_checkpoint(uri, self._run.state)
        manifest = self._run.setup.manifest
        if saved.data_fingerprint != manifest.fingerprint:
            message = (
                f"{uri}: was trained on other data than {manifest.uri} holds: its "
                f"fingerprint was {saved.data_fingerprint[:12]} and is "
                f"{manifest.fingerprint[:12]}. Use --fresh to start over"
            )
            raise ConfigError(message)
        self._best = saved.best
        self.first_evaluation = saved.first_evaluation
        self._written_step = saved.step

    def load_best(self) -> int:
        """Give the student the weights of the lowest evaluation loss; return their step.

        All workers call it together, after the last step and ``wait``. The last weights stay
        where no loss was finite.

        Raises:
            PublicationError: The checkpoint of that step is not what it was.
        """
        state = self._run.state
        step = state.step if self._best is None else self._best.step
        # The first worker has committed what it is about to say; others may be here before that.
        step = self._run.world.broadcast(step)
        if step != state.step:
            with opened_checkpoint(uris.join(self._uri, checkpoint_name(step))) as path:
                load_weights(state.student.model, path / layout.STUDENT)
        return step

    def note_evaluation(self, step: int, *, loss: float) -> None:
        """Remember the step of the lowest loss; no loss would ever be lower than NaN."""
        if math.isfinite(loss) and (self._best is None or loss < self._best.loss):
            self._best = BestEvaluation(step=step, loss=loss)

    @property
    def is_busy(self) -> bool:
        """Whether this worker is still writing its part of the last checkpoint."""
        return self._background.is_busy

    def is_due(self, step: int, *, is_busy: bool) -> bool:
        """Tell whether a checkpoint is to be written after a step.

        A periodic one waits, while training goes on, until the last one is written: then the
        newest state is. Milestones, the best and the last state are of their very step.

        Args:
            step: The step.
            is_busy: Whether any worker is still writing.
        """
        if step in (self._run.num_steps, self._best_step, *self._milestones):
            return True
        is_periodic = self._is_postponed or step % self._config.every_steps == 0
        self._is_postponed = is_periodic and is_busy
        return is_periodic and not is_busy

    def write(self, *, before: Callable[[], None]) -> None:
        """Take the run's state, and write it in the background, after the last one is written.

        Args:
            before: Done in the background before the checkpoint appears.

        Raises:
            RaykdError: The last checkpoint could not be written.
        """
        state = self._run.state
        if state.step == self._written_step:
            return
        # One at a time: the next snapshot is copied into the memory of this one.
        self._background.wait()
        world = self._run.world
        snapshot = take_snapshot(
            state, run_state=self._run_state(), world=world, copies=self._copies
        )
        part = Part(index=world.rank, count=world.size, token=f"{self._attempt}-{state.step}")
        uri = uris.join(self._uri, checkpoint_name(state.step))
        # A later evaluation may be better: then this one's checkpoint stays until that one's is.
        best_step = self._best_step

        def work() -> None:
            # The metrics first: a run that continues from this step has the records up to it.
            before()
            publish_snapshot(
                uri,
                snapshot,
                part=part,
                origin=self._origin() if world.rank == 0 else {},
                companions=self._companions,
                should_stop=lambda: time.monotonic() > self._deadline,
            )
            # After the commit: until then the older ones are all that there is.
            if world.rank == 0:
                self._prune(best_step)

        self._background.start(work)
        self._written_step, self._is_postponed = state.step, False

    def raise_failure(self) -> None:
        """Raise what kept a checkpoint from being written."""
        self._background.raise_failure()

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
            RaykdError: The last checkpoint could not be written.
        """
        self._background.wait()

    def drain(self) -> None:
        """Return when nothing is being written, after a failure that counts for more.

        It may be that another worker is lost: for its part the first one waits a while only.
        """
        self._deadline = time.monotonic() + _GRACE_SECONDS
        self._background.drain()

    def _run_state(self) -> RunState:
        state = self._run.state
        return RunState(
            step=state.step,
            tokens=state.tokens,
            data=state.data,
            data_fingerprint=self._run.setup.manifest.fingerprint,
            world_size=self._run.world.size,
            best=self._best,
            first_evaluation=self.first_evaluation,
            recent_loss=state.recent_loss,
            num_losses=state.num_losses,
        )

    @property
    def _best_step(self) -> int | None:
        """Step of the checkpoint that is kept for its loss, if any is."""
        return self._best.step if self._best is not None and self._config.keep_best else None

    def _prune(self, best_step: int | None) -> None:
        steps = committed_steps(self._uri)
        kept = kept_steps(
            steps,
            keep_last=self._config.keep_last,
            best_step=best_step,
            milestones=self._milestones,
        )
        for step in sorted(set(steps) - kept):
            ownership.remove(uris.join(self._uri, checkpoint_name(step)), kind=KIND)


@contextmanager
def found_checkpoint(paths: RunPaths, world: World) -> Iterator[str | None]:
    """Yield where to continue from, which every worker may read while its block runs.

    The first worker finds it, and removes what a dead attempt has left after it.
    """
    if world.rank != 0:
        yield world.broadcast(None)
        return
    with newest_checkpoint(paths.checkpoints, run=paths.name) as newest:
        # Before the others start: what this attempt writes has the names of what is removed.
        _tidy(paths.checkpoints, after=0 if newest is None else newest.step)
        world.broadcast(None if newest is None else newest.uri)
        # The first worker reads the copy that it has verified, and fetches nothing twice.
        yield None if newest is None else str(newest.path)


def _tidy(checkpoints_uri: str, *, after: int) -> None:
    """Remove the broken checkpoints after a step, and what was never committed."""
    for step in checkpoint_steps(checkpoints_uri):
        if step > after:
            ownership.remove(uris.join(checkpoints_uri, checkpoint_name(step)), kind=KIND)
    ownership.remove_scratch(checkpoints_uri)


def _origin(config: RunConfig, paths: RunPaths) -> dict[str, object]:
    """Return what a checkpoint says of where it comes from: the run, the teachers by reference."""
    teachers = {
        name: {
            "model": named.source,
            "revision": named.revision,
            "fingerprint": config.inputs.get(f"teachers.{name}.model"),
        }
        for name, named in models_by_teacher(config).items()
    }
    return {RUN: paths.name, "teachers": teachers}
